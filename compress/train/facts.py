"""Facts of a model that its manifest records: inputs, shape, parameters by part, longest input."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import PreTrainedModel

from compress.core.family import is_uneven

_INPUTS = ("input_ids", "token_type_ids", "attention_mask")
# The second factor of factorized embeddings: ELECTRA's and ALBERT's.
_PROJECTIONS = ("embeddings_project.", "encoder.embedding_hidden_mapping_in.")


def longest_input(model: PreTrainedModel, tokenizer: Any) -> int:
    """Tokens that the position embeddings, and the tokenizer's own limit, allow."""
    return min(int(tokenizer.model_max_length), positions(model))


def positions(model: PreTrainedModel) -> int:
    """Tokens that the position embeddings allow."""
    limit = int(getattr(model.config, "max_position_embeddings", 512))
    for name, module in model.base_model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # RoBERTa counts positions from padding_idx + 1, so that many rows are never used.
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            limit = min(limit, module.num_embeddings - unused)
    return limit


def model_inputs(model: PreTrainedModel, tokenizer: Any) -> list[str]:
    """Which of the tokenizer's outputs the model takes (a DistilBERT has no token types, a RoBERTa only one)."""
    taken = inspect.signature(model.forward).parameters
    known = set(tokenizer.model_input_names)
    if int(getattr(model.config, "type_vocab_size", 2)) < 2:
        known.discard("token_type_ids")
    return [name for name in _INPUTS if name in taken and name in known]


def architecture(model: PreTrainedModel) -> dict[str, int]:
    """Layers, width, heads, FFN width and vocabulary, under one name for every family.

    `embedding` where the embedding tables are narrower than the layers. Layers of uneven shapes have no one number of
    heads and no one FFN width, so these are left out.
    """
    config = model.config
    ffn = next((getattr(config, name) for name in ("intermediate_size", "hidden_dim") if hasattr(config, name)), 0)
    embedding = int(getattr(config, "embedding_size", None) or config.hidden_size)
    return {
        "layers": int(config.num_hidden_layers),
        "width": int(config.hidden_size),
        **({} if is_uneven(config) else {"heads": int(config.num_attention_heads), "ffn": int(ffn)}),
        "vocabulary": int(config.vocab_size),
        **({"embedding": embedding} if embedding != int(config.hidden_size) else {}),
    }


def parameters(model: PreTrainedModel) -> dict[str, int]:
    """Parameters by part; shared ones count once, a pooler counts to the head."""
    counts = {"embeddings": 0, "encoder": 0, "head": 0}
    body = {id(weight): name for name, weight in model.base_model.named_parameters()}
    for weight in model.parameters():
        name = body.get(id(weight))
        if name is None or name.startswith("pooler."):
            counts["head"] += weight.numel()
        else:
            counts["embeddings" if name.startswith(("embeddings.", *_PROJECTIONS)) else "encoder"] += weight.numel()
    return {"total": sum(counts.values()), **counts}
