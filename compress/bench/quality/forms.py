"""Metrics as functions of how often each row counts, so that a bootstrap of thousands of draws is one product.

scikit-learn and seqeval take about 10 ms for one score. Each form here is compared with `Task.score` on the real rows
before it is used (`scored.py`): a task of another package, or a metric that means something else, is drawn slowly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from compress.bench.quality.answers import Answers, Floats, Ints, Units

Finish = Callable[[Floats], Floats]
TINY = 1e-12  # a variance below this share of the whole sample's is rounding


class Form(ABC):
    """A metric of weighted rows: weights `[d, rows]` to values `[d]`."""

    @abstractmethod
    def __call__(self, weights: Floats) -> Floats:
        """The metric of every draw."""

    @abstractmethod
    def only(self, rows: Ints) -> Form:
        """The same metric over some of the rows."""


@dataclass(frozen=True)
class Sums(Form):
    """A metric of sums over rows. stats: `[rows, k]`, sparse; finish: sums `[d, k]` to values `[d]`."""

    stats: Any
    finish: Finish

    def __call__(self, weights: Floats) -> Floats:
        """Sum the rows as often as they count."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.finish(np.asarray((self.stats.T @ weights.T).T))

    def only(self, rows: Ints) -> Sums:
        """The sums over these rows."""
        return Sums(self.stats[rows], self.finish)


@dataclass(frozen=True)
class Spearman(Form):
    """Rank correlation, with the ranks that the values have in each draw (ties share their mean rank)."""

    said: Floats
    gold: Floats

    def __call__(self, weights: Floats) -> Floats:
        """Pearson's correlation of the ranks."""
        x, y = _ranks(self.said, weights), _ranks(self.gold, weights)
        count = weights.sum(1, keepdims=True)
        x -= (weights * x).sum(1, keepdims=True) / count
        y -= (weights * y).sum(1, keepdims=True) / count
        xx, yy, xy = ((weights * a * b).sum(1) for a, b in ((x, x), (y, y), (x, y)))
        return _correlation(xx, yy, xy, len(self.said) ** 3 / 12)

    def only(self, rows: Ints) -> Spearman:
        """The rank correlation of these rows."""
        return Spearman(self.said[rows], self.gold[rows])


def accuracy(units: Units, rows: int, among: NDArray[np.bool_] | None = None) -> Sums:
    """Share of units that got the right label. among: which units count; default all."""
    counts = np.ones(len(units.row)) if among is None else among.astype(np.float64)
    return Sums(by_row(units.row, [units.right * counts, counts], rows), share)


def by_row(row: Ints, columns: Sequence[NDArray[Any]], rows: int) -> Any:
    """Values of units, each column `[n]`, summed within their rows: sparse `[rows, k]`."""
    values = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)
    place = sparse.csr_matrix((np.ones(len(row)), (row, np.arange(len(row)))), shape=(rows, len(row)))
    return sparse.csr_matrix(place @ values)


def label_forms(units: Units, rows: int, classes: int) -> dict[str, Form]:
    """Macro F1, precision and recall over the classes that occur, and Matthews correlation, over the units seen."""
    seen = units.said >= 0
    row, gold, said = units.row[seen], units.gold[seen], units.said[seen]
    hits = gold == said
    place = np.concatenate([row[hits], row, row])
    column = np.concatenate([gold[hits], gold + classes, said + 2 * classes])
    stats = sparse.csr_matrix((np.ones(len(place)), (place, column)), shape=(rows, 3 * classes))
    kinds = {"f1": (1, 1), "precision": (0, 1), "recall": (1, 0)}
    forms: dict[str, Form] = {name: Sums(stats, _macro(classes, *kind)) for name, kind in kinds.items()}
    return {**forms, "mcc": Sums(stats, _matthews(classes))}


def span_forms(answers: Answers, names: Sequence[str]) -> dict[str, Form]:
    """F1, precision and recall of BIO spans, counted row by row as seqeval counts them."""
    from seqeval.metrics.sequence_labeling import get_entities

    counts = np.zeros((len(answers.outputs), 3))
    for row, (outputs, truth) in enumerate(zip(answers.outputs, answers.truth, strict=True)):
        said = set(get_entities([names[tag] for tag in outputs.argmax(-1)]))
        true = set(get_entities([names[tag] for tag in truth[:, 0]]))
        counts[row] = len(said & true), len(true), len(said)
    stats = sparse.csr_matrix(counts)
    return {"f1": Sums(stats, _f1), "precision": Sums(stats, _over(2)), "recall": Sums(stats, _over(1))}


def cut_form(units: Units, rows: int) -> Sums:
    """Share of words that the model did not see."""
    return Sums(by_row(units.row, [units.said < 0, np.ones(len(units.row))], rows), share)


def value_forms(said: Floats, gold: Floats) -> dict[str, Form]:
    """Pearson, Spearman and mean squared error of numbers `[rows]`."""
    # Centred, so that the sums below do not cancel away digits.
    x, y = said - said.mean(), gold - gold.mean()
    scale = max(float(x.var() + y.var()), 1e-300)
    moments = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    squares = np.stack([np.square(said - gold), np.ones_like(x)], axis=1)
    return {
        "pearson": Sums(sparse.csr_matrix(moments), _pearson(scale)),
        "mse": Sums(sparse.csr_matrix(squares), share),
        "spearman": Spearman(said, gold),
    }


def share(sums: Floats) -> Floats:
    """The first sum over the second."""
    return np.asarray(sums[:, 0] / sums[:, 1])


def _over(column: int) -> Finish:
    return lambda sums: np.nan_to_num(sums[:, 0] / sums[:, column])


def _f1(sums: Floats) -> Floats:
    return np.nan_to_num(2 * sums[:, 0] / (sums[:, 1] + sums[:, 2]))


def _macro(classes: int, gold: int, said: int) -> Finish:
    """The mean over the classes that occur of hits over gold, over said, or (F1) over their mean."""

    def finish(sums: Floats) -> Floats:
        hits, true, told = (sums[:, at * classes : (at + 1) * classes] for at in range(3))
        values = np.nan_to_num((gold + said) * hits / (gold * true + said * told))
        occurs = true + told > 0
        return np.asarray((values * occurs).sum(1) / occurs.sum(1))

    return finish


def _matthews(classes: int) -> Finish:
    def finish(sums: Floats) -> Floats:
        hits, true, told = (sums[:, at * classes : (at + 1) * classes] for at in range(3))
        count = true.sum(1)
        above = hits.sum(1) * count - (true * told).sum(1)
        below = (count**2 - np.square(told).sum(1)) * (count**2 - np.square(true).sum(1))
        return np.where(below > 0, above / np.sqrt(below), 0.0)

    return finish


def _pearson(scale: float) -> Finish:
    def finish(sums: Floats) -> Floats:
        count, x, y, xx, yy, xy = sums.T
        return _correlation(xx - x * x / count, yy - y * y / count, xy - x * y / count, scale)

    return finish


def _correlation(xx: Floats, yy: Floats, xy: Floats, scale: float) -> Floats:
    """A constant orders nothing: 0, as the task `regress` has it."""
    flat = (xx <= TINY * scale) | (yy <= TINY * scale)
    return np.where(flat, 0.0, xy / np.sqrt(np.where(flat, 1.0, xx * yy)))


def _ranks(values: Floats, weights: Floats) -> Floats:
    """Mean rank of each value in each draw, `[d, rows]`."""
    kinds, group = np.unique(values, return_inverse=True)
    place = sparse.csr_matrix((np.ones(len(group)), (group, np.arange(len(group)))), shape=(len(kinds), len(group)))
    counts = np.asarray((place @ weights.T).T)
    return np.asarray((np.cumsum(counts, axis=1) - (counts - 1) / 2)[:, group])
