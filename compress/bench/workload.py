"""Which rows are asked for: the corpus's own length mix, spread evenly over every stretch of requests."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

GOLDEN = (math.sqrt(5) - 1) / 2
MOST_REQUESTS = 512


def corpus_requests(inputs: Sequence[Any], batch: int, count: int, chance: random.Random) -> list[list[int]]:
    """Row numbers of `count` requests of `batch` texts each.

    Single texts come by length quantile in golden-ratio steps, so that any run of neighbours covers short and long
    ones in the corpus's proportions. Larger batches are drawn at random, as a server would meet them: their padding
    is part of what is measured.
    """
    if batch > 1:
        return [[chance.randrange(len(inputs)) for _ in range(batch)] for _ in range(count)]
    return [[row] for row in stream(inputs, count, chance)]


def stream(inputs: Sequence[Any], count: int, chance: random.Random) -> list[int]:
    """Row numbers of `count` texts by length quantile in golden-ratio steps: every stretch has the corpus's mix."""
    by_length = sorted(range(len(inputs)), key=lambda index: length_of(inputs[index]))
    start = chance.random()
    return [by_length[int((start + step * GOLDEN) % 1 * len(by_length))] for step in range(count)]


def grid_requests(rows: int, batch: int, count: int, chance: random.Random) -> list[list[int]]:
    """Row numbers at which the texts of `count` grid requests start; the subject joins rows from there on."""
    return [[chance.randrange(rows) for _ in range(batch)] for _ in range(count)]


def length_of(value: Any) -> int:
    """Characters of an input, for sorting only."""
    if isinstance(value, str):
        return len(value)
    return sum(map(len, value.values() if isinstance(value, dict) else value))
