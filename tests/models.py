"""Tiny random models of every family that a student can have a teacher of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AlbertConfig,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    CamembertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    GPT2Config,
    GPT2LMHeadModel,
    MPNetConfig,
    PreTrainedModel,
    RobertaConfig,
    T5Config,
    T5ForConditionalGeneration,
    XLMRobertaConfig,
)

HEADS: dict[str, Any] = {
    "classify": AutoModelForSequenceClassification,
    "tag": AutoModelForTokenClassification,
    "mask": AutoModelForMaskedLM,
    "answer": AutoModelForQuestionAnswering,
}


KINDS: dict[str, Any] = {
    "albert": AlbertConfig,
    "bert": BertConfig,
    "camembert": CamembertConfig,
    "deberta-v2": DebertaV2Config,
    "electra": ElectraConfig,
    "mpnet": MPNetConfig,
    "roberta": RobertaConfig,
    "xlm-roberta": XLMRobertaConfig,
}
ROBERTAS = ("roberta", "camembert", "xlm-roberta")
OWN: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 8},
    "electra": {"embedding_size": 8},
    "mpnet": {"max_position_embeddings": 22, "pad_token_id": 1},
    "deberta-v2": {  # as version 3 has it
        "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": True, "position_buckets": 4,
        "norm_rel_ebd": "layer_norm", "position_biased_input": False, "type_vocab_size": 0,
    },
    **{name: {"max_position_embeddings": 22, "pad_token_id": 1, "type_vocab_size": 1} for name in ROBERTAS},
}  # fmt: skip


def tiny(family: str, layers: int = 4, width: int = 16, head: str = "classify", labels: int = 3) -> PreTrainedModel:
    """A random model of `width`, 4 heads, FFN of twice the width, 50 tokens and 20 positions, in eval mode."""
    torch.manual_seed(0)
    config: Any
    if family == "distilbert":
        config = DistilBertConfig(
            vocab_size=50, dim=width, n_layers=layers, n_heads=4, hidden_dim=2 * width, max_position_embeddings=20
        )
    else:
        shape = {
            "vocab_size": 50, "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 4,
            "intermediate_size": 2 * width, "max_position_embeddings": 20,
        }  # fmt: skip
        config = KINDS[family](**{**shape, **OWN.get(family, {})})
    config.num_labels = labels
    model: PreTrainedModel = HEADS[head].from_config(config)
    return _shaken(model)


def tiny_gpt2(layers: int = 4, width: int = 16, head: Any = GPT2LMHeadModel, **options: Any) -> PreTrainedModel:
    """A random GPT-2 of the same shape."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=50,
        n_embd=width,
        n_layer=layers,
        n_head=4,
        n_positions=20,
        num_labels=3,
        bos_token_id=1,
        eos_token_id=1,
        **options,
    )
    return _shaken(head(config))


def tiny_t5(layers: int = 2, head: Any = T5ForConditionalGeneration, gated: bool = True) -> PreTrainedModel:
    """A random T5 of width 16 with heads that are not as wide together, as version 1.1 has it or the first."""
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=50, d_model=16, d_kv=6, d_ff=32, num_layers=layers, num_decoder_layers=layers + 1, num_heads=4,
        relative_attention_num_buckets=8, feed_forward_proj="gated-gelu" if gated else "relu", decoder_start_token_id=0,
        num_labels=3,
    )  # fmt: skip
    return _shaken(head(config))


def prunable(family: str) -> PreTrainedModel:
    """A random model of any family that can be pruned."""
    return {"gpt2": tiny_gpt2, "t5": tiny_t5}[family]() if family in ("gpt2", "t5") else tiny(family)


def _shaken(model: PreTrainedModel) -> PreTrainedModel:
    for parameter in model.parameters():  # norms and biases too, so that a part that is not copied shows
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def inputs_for(model: PreTrainedModel) -> dict[str, Tensor]:
    """A `batch` padded as the model's family pads."""
    return batch(pad=int(model.config.pad_token_id))


def batch(rows: int = 2, tokens: int = 7, pad: int = 0) -> dict[str, Tensor]:
    """Token ids `[b, s]` with padding in the second row."""
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 50, (rows, tokens), generator=draw)
    mask = torch.ones(rows, tokens, dtype=torch.long)
    mask[1:, tokens - 2 :] = 0
    return {"input_ids": ids.masked_fill(mask == 0, pad), "attention_mask": mask}


KIN = ("camembert", "xlm-roberta", "roberta", "electra")


def kin_later(families: Sequence[str]) -> list[Any]:
    """Parameters of a test; the families whose layers are BERT's by other names only run with the slow tests."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in KIN else name for name in families]
