"""Which gates stay open: the highest scores of each block, or of all blocks together, in sizes that are allowed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from compress.importance.counts import nearest

Sizes = Sequence[tuple[int, ...]]


def highest(scores: Sequence[Tensor], sizes: Sizes, share: float, everywhere: bool) -> list[Tensor]:
    """For each block its open gates, bool `[n]`: a `share` of every block, or of all blocks together.

    scores: `[n]` each. sizes: how many of a block may be open, rising, the last one n. Of equal scores the first ones
    stay open, so that every process and every run chooses alike.
    """
    orders = [torch.argsort(each, descending=True, stable=True) for each in scores]
    if everywhere:
        ranked = [each[order].tolist() for each, order in zip(scores, orders, strict=True)]
        numbers = _over_all(ranked, sizes, share * sum(len(each) for each in scores))
    else:
        numbers = [nearest(counts, share * counts[-1]) for counts in sizes]
    found = []
    for each, order, number in zip(scores, orders, numbers, strict=True):
        opened = torch.zeros(len(each), dtype=torch.bool, device=each.device)
        opened[order[:number]] = True
        found.append(opened)
    return found


def _over_all(ranked: Sequence[Sequence[float]], sizes: Sizes, wanted: float) -> list[int]:
    """How many of each block: the fewest of all, then one size more where the mean score of what it adds is highest."""
    steps = [
        (-sum(values[low:high]) / (high - low), block, high, high - low)
        for block, (values, counts) in enumerate(zip(ranked, sizes, strict=True))
        for low, high in pairwise(counts)
    ]
    numbers = [counts[0] for counts in sizes]
    total = sum(numbers)
    for _, block, high, more in sorted(steps, key=lambda step: step[:3]):
        if total + more / 2 > wanted:
            break
        numbers[block] = high
        total += more
    return numbers
