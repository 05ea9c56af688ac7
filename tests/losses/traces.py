"""Small traces with numbers that can be worked out by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from compress.core.trace import Trace


def outputs(logits: list[list[float]], labels: list[int] | list[float] | list[list[float]] | None = None) -> Trace:
    """A trace of `[n, c]` logits that all count."""
    values = torch.tensor(logits)
    truth = None if labels is None else torch.tensor(labels)
    mask = torch.ones(len(logits), 1, dtype=torch.bool)
    return Trace(mask=mask, logits=values, outputs=torch.ones(len(logits), dtype=torch.bool), labels=truth)


def states(layers: dict[int, list[list[list[float]]]], mask: list[list[int]], depth: int) -> Trace:
    """A trace of hidden states `[b, s, d]` by layer."""
    return Trace(mask=torch.tensor(mask).bool(), hidden={k: torch.tensor(v) for k, v in layers.items()}, depth=depth)


def heads(queries: Tensor, keys: Tensor, mask: list[list[int]], depth: int = 1) -> Trace:
    """A trace of one layer's queries and keys `[b, h, s, e]`."""
    return Trace(mask=torch.tensor(mask).bool(), queries={1: queries}, keys={1: keys}, depth=depth)


def values(numbers: Tensor, mask: list[list[int]], depth: int = 1) -> Trace:
    """A trace of the last layer's values `[b, h, s, e]`."""
    return Trace(mask=torch.tensor(mask).bool(), values={depth: numbers}, depth=depth)


def embedded(vectors: list[list[float]]) -> Trace:
    """A trace of embeddings `[b, d]` that can take a gradient."""
    return Trace(mask=torch.ones(len(vectors), 1, dtype=torch.bool), embedding=torch.tensor(vectors).requires_grad_())


def scored(scores: list[float], groups: list[int]) -> Trace:
    """A trace of one score `[b, 1]` for each candidate, with the query that it belongs to."""
    mask = torch.ones(len(scores), 1, dtype=torch.bool)
    return Trace(mask=mask, logits=torch.tensor(scores)[:, None], groups=torch.tensor(groups))
