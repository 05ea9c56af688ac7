"""What heads and neurons cost in time: a table measured on one machine, and the model that is fitted to it.

The time of a whole model is taken as base + layer x its layers + the sum over them of attention(heads) + ffn(neurons),
each piecewise linear and never falling (as the latency constraint of Kwon et al. 2022, arXiv 2204.09656, is). `layer`
is told from `base` only where the table holds models of different depth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from transformers import PreTrainedModel

Floats = NDArray[np.float64]
Knots = tuple[tuple[int, float], ...]
STEPS = (0.25, 0.5, 0.75)  # where the table is measured between the fewest and all


@dataclass(frozen=True)
class Timing:
    """The time of one model in ms, the reference's time over it in interleaved rounds, and that ratio's interval."""

    milliseconds: float
    ratio: float
    interval: tuple[float, float] | None

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        spread = None if self.interval is None else [_short(end) for end in self.interval]
        return {"ms": _short(self.milliseconds), "speedup": _short(self.ratio), "interval": spread}


# Models that read one tokenizer's tokens, timed side by side, each against the same reference.
Timer = Callable[[Sequence[PreTrainedModel], Any], list[Timing]]


@dataclass(frozen=True)
class Shape:
    """At most so many heads and neurons in every layer."""

    heads: int
    neurons: int


@dataclass(frozen=True)
class Measured:
    """One line of the table: heads of every attention, neurons of every feed-forward, ms."""

    heads: tuple[int, ...]
    neurons: tuple[int, ...]
    milliseconds: float


def shapes_to_time(heads: Sequence[int], neurons: Sequence[int]) -> list[Shape]:
    """The shapes of the table, the whole model first: one part varied at a time, and both at once in the middle and at
    the end, where the fit can be seen to fail.

    heads, neurons: the counts that a layer may keep, rising.
    """
    whole = Shape(heads[-1], neurons[-1])
    some = [_between(heads), _between(neurons)]
    found = [whole, *(Shape(n, whole.neurons) for n in some[0]), *(Shape(whole.heads, n) for n in some[1])]
    found += [Shape(some[0][len(some[0]) // 2], some[1][len(some[1]) // 2]), Shape(heads[0], neurons[0])]
    return list(dict.fromkeys(found))


def _between(counts: Sequence[int]) -> list[int]:
    """The fewest, and those nearest to a quarter, half and three quarters of all."""
    wanted = [counts[0], *(share * counts[-1] for share in STEPS), counts[-1]]
    return sorted({min(counts, key=lambda count: abs(count - place)) for place in wanted})


@dataclass(frozen=True)
class LatencyModel:
    """Time in ms: `base`, `layer` for each feed-forward, and at each knot what all attentions and all feed-forwards of
    the deepest model take together.

    attentions, feeds: how many that has. error: the largest relative misfit of the table.
    """

    base: float
    layer: float
    heads: Knots
    neurons: Knots
    attentions: int
    feeds: int
    error: float

    def attention(self, count: float) -> float:
        """Time of one attention with so many heads."""
        return _height(self.heads, count) / self.attentions

    def ffn(self, count: float) -> float:
        """Time of one feed-forward with so many neurons."""
        return _height(self.neurons, count) / self.feeds

    def fixed(self, feeds: int) -> float:
        """Time of a model with so many feed-forwards beyond what its heads and neurons take."""
        return self.base + self.layer * feeds

    def total(self, heads: Sequence[int], neurons: Sequence[int]) -> float:
        """Time of a model with these counts."""
        return self.fixed(len(neurons)) + sum(map(self.attention, heads)) + sum(map(self.ffn, neurons))

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "base_ms": _short(self.base),
            "layer_ms": _short(self.layer),
            "heads_ms": [[count, _short(time)] for count, time in self.heads],
            "neurons_ms": [[count, _short(time)] for count, time in self.neurons],
            "largest_error": _short(self.error),
        }


def fit(table: Sequence[Measured]) -> LatencyModel:
    """The model that misses the table least, relative to each time. The first line is of the deepest model.

    Base, layer and the increase between two knots are at least 0, which is what keeps both curves from falling.
    """
    heads = sorted({max(line.heads) for line in table})
    neurons = sorted({max(line.neurons) for line in table})
    attentions, feeds = len(table[0].heads), len(table[0].neurons)
    deep = len({len(line.neurons) for line in table}) > 1
    rows = np.array(
        [
            [1.0, len(line.neurons) / feeds if deep else 0.0, *_climbed(line.heads, heads, attentions),
             *_climbed(line.neurons, neurons, feeds)]
            for line in table
        ]
    )  # fmt: skip
    weight = 1 / np.array([line.milliseconds for line in table])
    found, _ = nnls(rows * weight[:, None], np.ones(len(table)))
    error = float(np.abs(rows @ found * weight - 1).max())
    curves = found[2 : 1 + len(heads)], found[1 + len(heads) :]
    return LatencyModel(
        float(found[0]), float(found[1]) / feeds, _curve(heads, curves[0]), _curve(neurons, curves[1]), attentions,
        feeds, error,
    )  # fmt: skip


def _climbed(counts: Sequence[int], knots: Sequence[int], blocks: int) -> Floats:
    """For each stretch between two knots the share of it that lies below the counts, over so many blocks."""
    low, high = np.array(knots[:-1], dtype=np.float64), np.array(knots[1:], dtype=np.float64)
    below = (np.asarray(counts, dtype=np.float64)[:, None] - low) / (high - low)
    climbed: Floats = below.clip(0, 1).sum(0) / blocks
    return climbed


def _curve(knots: Sequence[int], rises: Floats) -> Knots:
    heights = np.concatenate([[0.0], np.cumsum(rises)])
    return tuple((knot, float(height)) for knot, height in zip(knots, heights, strict=True))


def _height(curve: Knots, count: float) -> float:
    """The height of a piecewise linear curve, level beyond its ends."""
    return float(np.interp(count, [float(knot) for knot, _ in curve], [height for _, height in curve]))


def _short(value: float) -> float:
    return float(f"{value:.5g}")
