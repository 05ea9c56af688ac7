"""Traces moved from tokens to spans."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from compress.core.trace import Trace

LOWEST = -1e4  # the score of a token that cannot be chosen; finite in every number format


def averaging(spans: Tensor, count: int) -> Tensor:
    """`[b, p, s]` float32: row p of a text averages the tokens whose span (`[b, s]`, -1: none) is p; p < count.

    A product with it has the same sum in the same order every time, which adding into spans has not on a GPU.
    """
    numbers = torch.arange(count, device=spans.device)
    member = (spans[:, None, :] == numbers[None, :, None]).float()
    return member / member.sum(-1, keepdim=True).clamp(min=1)


def on_spans(trace: Trace, weights: Tensor, mask: Tensor, *, over_tokens: bool = False) -> Trace:
    """A trace whose s axis has become p spans: means of states, queries, keys and values. mask: `[b, p]`.

    over_tokens: logits `[b, k, s]` score tokens, and a span's score is the log of its tokens' summed exp, so that a
    softmax over spans gives each span the probability of its tokens.
    """
    with torch.autocast(weights.device.type, enabled=False):
        logits = trace.logits
        if over_tokens and logits is not None:
            logits = _summed(logits.float(), weights, mask)
        heads = weights[:, None]
        return replace(
            trace,
            mask=mask,
            logits=logits,
            hidden=_each(trace.hidden, weights),
            queries=_each(trace.queries, heads),
            keys=_each(trace.keys, heads),
            values=_each(trace.values, heads),
        )


def _each(held: dict[int, Tensor] | None, weights: Tensor) -> dict[int, Tensor] | None:
    return None if held is None else {layer: weights @ state.float() for layer, state in held.items()}


def _summed(logits: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
    """Log of the summed exp of logits `[b, k, s]` over each span, `[b, k, p]`; -1e4 where nothing can be chosen.

    Tasks mark tokens that cannot be chosen by -1e4. A span of three such tokens must not differ from a span of one.
    """
    inside = (weights > 0)[:, None]
    spread = logits[:, :, None, :].expand(-1, -1, weights.shape[1], -1)
    summed = spread.masked_fill(~inside, LOWEST).logsumexp(-1)
    return summed.masked_fill(~mask[:, None] | (summed < LOWEST / 2), LOWEST)
