"""Small traces with numbers that can be worked out by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from compress.core.trace import Trace


def outputs(logits: list[list[float]], labels: list[int] | list[float] | None = None) -> Trace:
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
