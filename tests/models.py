"""Tiny random models of every family that a student can have a teacher of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    DistilBertConfig,
    PreTrainedModel,
    RobertaConfig,
)

HEADS: dict[str, Any] = {
    "classify": AutoModelForSequenceClassification,
    "tag": AutoModelForTokenClassification,
    "mask": AutoModelForMaskedLM,
    "answer": AutoModelForQuestionAnswering,
}


def tiny(family: str, layers: int = 4, width: int = 16, head: str = "classify", labels: int = 3) -> PreTrainedModel:
    """A random model of `width`, 4 heads, FFN of twice the width, 50 tokens and 20 positions, in eval mode."""
    torch.manual_seed(0)
    config: Any
    if family == "distilbert":
        config = DistilBertConfig(
            vocab_size=50, dim=width, n_layers=layers, n_heads=4, hidden_dim=2 * width, max_position_embeddings=20
        )
    else:
        kind = {"bert": BertConfig, "roberta": RobertaConfig}[family]
        config = kind(
            vocab_size=50, hidden_size=width, num_hidden_layers=layers, num_attention_heads=4,
            intermediate_size=2 * width, max_position_embeddings=22 if family == "roberta" else 20,
            type_vocab_size=1 if family == "roberta" else 2, pad_token_id=1 if family == "roberta" else 0,
        )  # fmt: skip
    config.num_labels = labels
    model: PreTrainedModel = HEADS[head].from_config(config)
    for parameter in model.parameters():  # norms and biases too, so that a part that is not copied shows
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def batch(rows: int = 2, tokens: int = 7, pad: int = 0) -> dict[str, Tensor]:
    """Token ids `[b, s]` with padding in the second row."""
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 50, (rows, tokens), generator=draw)
    mask = torch.ones(rows, tokens, dtype=torch.long)
    mask[1:, tokens - 2 :] = 0
    return {"input_ids": ids.masked_fill(mask == 0, pad), "attention_mask": mask}
