"""Attention in one piece for short texts on the CPU: two matrix products and a softmax.

Registered with transformers as the implementation `NAME` (its AttentionInterface), for models whose attention is
q k^T scaled, masked, normalised: what sdpa computes for them. torch's softmax goes number by number through rows that
are shorter than a vector register, which is most rows of single sentences; here they are padded to one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

from compress.train.quick_dropout import dropped

NAME = "stillroom_plain"
LANES = 16  # float32 numbers of a vector register of 512 bits
EXACT_UP_TO = 48  # tokens: float32 is as quick up to here, and the scores are small


@contextmanager
def plain_attention(model: PreTrainedModel, *, own: bool = True) -> Iterator[None]:
    """A model with attention in one piece, transformers' own where ours does not fit; it gets back what it had.

    own: whether ours may be used. A compiler has no use for it: its draws and its lengths break the graph.
    """
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME if own and _fits(model) else "eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Attention of `query`, `key`, `value` `[b, h, s, e]` under an additive mask `[b, 1, s, s]`, for transformers.

    Returns the mixed values `[b, s, h, e]` and the probabilities `[b, h, s, s]`.
    """
    scores = torch.matmul(query, key.transpose(2, 3)) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if attention_mask is not None:
        scores = scores + attention_mask
    tokens = scores.shape[-1]
    if tokens < LANES:
        scores = functional.pad(scores, (0, LANES - tokens), value=-torch.inf)
    kind = torch.float32 if tokens <= EXACT_UP_TO else scores.dtype
    shares = torch.softmax(scores, -1, dtype=kind).to(query.dtype)[..., :tokens]
    if module.training and dropout:
        shares = dropped(shares, dropout)
    return torch.matmul(shares, value).transpose(1, 2).contiguous(), shares


def _fits(model: PreTrainedModel) -> bool:
    causal = any(getattr(part, "is_causal", False) for part in model.modules())
    return model._supports_attention_backend and not causal


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, eager_mask)
