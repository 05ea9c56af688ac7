"""The best answer in a context: scores of tokens to a span of characters. Used by the runtime and by the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

NOWHERE = -1e9


@dataclass(frozen=True)
class Best:
    """The best span of one window. score: its log-probability there. start, end: its first and last token."""

    score: float
    start: int
    end: int


def overlap(stride: int, max_length: int) -> int:
    """Tokens that neighbouring windows share: `stride`, at most a quarter of the longest input."""
    return min(stride, max_length // 4)


def best_span(logits: np.ndarray, context: np.ndarray, longest: int) -> Best:
    """The likeliest span of at most `longest` tokens. logits: `[s, 2]`; context: bool `[s]`, a run of tokens.

    Start and end are distributions over the context and the first token, which stands for "not in this window". So the
    scores of several windows compare, which logits do not: a window's logits are learnt up to a constant only.
    """
    inside = np.flatnonzero(context)
    if not len(inside):
        return Best(NOWHERE, 0, 0)
    counted = np.concatenate([[0], inside])
    values = logits.astype(np.float64)
    top = values[counted].max(0)
    values = values - top - np.log(np.exp(values[counted] - top).sum(0))
    starts = values[inside, 0]
    ends = np.concatenate([values[inside, 1], np.full(longest - 1, NOWHERE)])
    ahead = sliding_window_view(ends, longest)
    reach = ahead.argmax(1)
    totals = starts + ahead[np.arange(len(starts)), reach]
    at = int(totals.argmax())
    return Best(float(totals[at]), int(inside[at]), int(inside[at] + reach[at]))


def characters(best: Best, offsets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The first character of a span and the one after its last. offsets: characters of each token."""
    if best.score <= NOWHERE:
        return 0, 0
    return int(offsets[best.start][0]), int(offsets[best.end][1])
