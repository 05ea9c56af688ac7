"""How well scores order the candidates of each group (the passages of a query)."""

from __future__ import annotations

import numpy as np

CUT = 10


def ranking_scores(predicted: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """`group_spearman`, `ndcg@10` and `mrr@10`: means over the groups whose candidates have unequal true scores.

    predicted, truth, groups: `[n]`. nDCG (Järvelin and Kekäläinen 2002) has linear gains above a group's lowest true
    score, so that the level of scores is free; MRR asks for the first of the candidates with a group's highest. Equal
    predictions share their places, so that a constant orders nothing: its Spearman is 0 and not undefined. All are 0
    where no group can be ranked.
    """
    _, groups = np.unique(groups, return_inverse=True)
    count = int(groups.max()) + 1 if len(groups) else 0
    highest, lowest = np.full(count, -np.inf), np.full(count, np.inf)
    np.maximum.at(highest, groups, truth)
    np.minimum.at(lowest, groups, truth)
    ranked = highest > lowest
    if not ranked.any():
        return {"group_spearman": 0.0, f"ndcg@{CUT}": 0.0, f"mrr@{CUT}": 0.0}
    gains = truth - lowest[groups]
    found = {
        "group_spearman": _spearman(predicted, truth, groups),
        f"ndcg@{CUT}": _gained(predicted, gains, groups) / np.where(ranked, _gained(truth, gains, groups), 1.0),
        f"mrr@{CUT}": _reciprocal(predicted, truth == highest[groups], groups),
    }
    return {name: float(values[ranked].mean()) for name, values in found.items()}


def _places(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows by group with the largest value first, their places in the group from 1, and the number of their tie."""
    order = np.lexsort((-values, groups))
    sorted_groups, sorted_values = groups[order], values[order]
    starts = np.r_[True, sorted_groups[1:] != sorted_groups[:-1]]
    ties = np.cumsum(starts | np.r_[True, sorted_values[1:] != sorted_values[:-1]]) - 1
    begins = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    return order, np.arange(len(order)) - begins + 1, ties


def _shared(of_places: np.ndarray, order: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """The mean of `of_places` (by place) over each tie, back in the order of the rows."""
    mean = np.bincount(ties, of_places) / np.bincount(ties)
    found = np.empty(len(order))
    found[order] = mean[ties]
    return found


def _spearman(predicted: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Spearman's correlation in each group, 0 where either side is constant."""
    sides = []
    for values in (predicted, truth):
        order, places, ties = _places(values, groups)
        ranks = _shared(places.astype(np.float64), order, ties)
        sides.append(ranks - (np.bincount(groups, ranks) / np.bincount(groups))[groups])
    shared, one, two = (np.bincount(groups, sides[i] * sides[j]) for i, j in ((0, 1), (0, 0), (1, 1)))
    length = np.sqrt(one * two)
    return np.asarray(np.divide(shared, length, out=np.zeros_like(shared), where=length > 0))


def _gained(values: np.ndarray, gains: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Discounted gain at 10 in each group when its rows stand by `values`."""
    order, places, ties = _places(values, groups)
    discounts = np.where(places <= CUT, 1 / np.log2(1 + places), 0.0)
    return np.bincount(groups, gains * _shared(discounts, order, ties))


def _reciprocal(predicted: np.ndarray, right: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """1 / place of the best placed right row in each group, 0 past the tenth place."""
    best = np.full(int(groups.max()) + 1, -np.inf)
    np.maximum.at(best, groups[right], predicted[right])
    wrong, mine = ~right, best[groups]
    above = np.bincount(groups, wrong & (predicted > mine))
    beside = np.bincount(groups, wrong & (predicted == mine))
    place = 1 + above + beside / 2
    return np.where(place <= CUT, 1 / place, 0.0)
