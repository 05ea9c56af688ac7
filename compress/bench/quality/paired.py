"""A subject against the reference on the same rows: McNemar's test for labels, else a paired bootstrap; agreement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from compress.bench.measures import absent, measure
from compress.bench.quality.answers import Floats, Units
from compress.bench.quality.draws import draw
from compress.bench.quality.forms import Sums, by_row, share
from compress.bench.quality.scored import Scored
from compress.bench.statistics import interval_of

MCNEMAR, BOOTSTRAP = "mcnemar", "bootstrap"
# What a row's output says, where it is more than one label: the labels, or the characters of a span.
SAID: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "labels": lambda output: output > 0,
    "span": lambda output: output[:, 2:4],
}


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p (McNemar 1947, binomial form) that gains and losses are equally likely; 1 without any."""
    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5))) if gained + lost else 1.0


def paired(metric: str, mine: Scored, theirs: Scored, one_per_row: bool) -> dict[str, Any]:
    """`{"test", "p", "gained", "lost", "drop"}`; gained: right here and wrong in the reference, in rows or in words.

    drop: the reference's main metric less this subject's, with the interval over rows that both were scored on.
    Words of one text are not independent, so words are tested like numbers: by the paired bootstrap over rows.
    """
    drop, draws = drop_of(metric, mine, theirs)
    found: dict[str, Any] = {"test": BOOTSTRAP, "p": None if draws is None else bootstrap_p(draws), "drop": drop}
    if mine.units is not None and theirs.units is not None:
        gained, lost = exchanged(mine.units, theirs.units)
        found |= {"gained": gained, "lost": lost}
        if one_per_row:
            found |= {"test": MCNEMAR, "p": mcnemar(gained, lost)}
    if found["p"] is not None:
        found["p"] = float(f"{found['p']:.4g}")
    return found


def drop_of(metric: str, mine: Scored, theirs: Scored) -> tuple[dict[str, Any], Floats | None]:
    """The reference's metric less the subject's as a measure, and its draws when both were drawn alike."""
    value, above, below = theirs.scores[metric] - mine.scores[metric], theirs.draws[metric], mine.draws[metric]
    draws = above - below if len(above) == len(below) else None
    return measure(value, "score", None if draws is None else interval_of(draws), len(mine.answers.outputs)), draws


def bootstrap_p(draws: Floats) -> float:
    """Two-sided p that a difference is zero, from its bootstrap draws; never below 2 / (draws + 1)."""
    count = len(draws) + 1
    return min(1.0, 2 * min(float((draws <= 0).sum()) + 1, float((draws >= 0).sum()) + 1) / count)


def exchanged(mine: Units, theirs: Units) -> tuple[int, int]:
    """Units that only this subject got right, and units that only the reference did."""
    return int((mine.right & ~theirs.right).sum()), int((theirs.right & ~mine.right).sum())


def agreement(mine: Scored, theirs: Scored) -> dict[str, Any]:
    """The share of units (rows, for label sets and spans) with the same answer as the reference's, right or wrong."""
    if mine.output in SAID:
        said, told = (np.concatenate([SAID[mine.output](one) for one in s.answers.outputs]) for s in (mine, theirs))
        alike, ones = (said == told).all(1).astype(np.float64), np.ones(len(said))
        form = Sums(by_row(np.arange(len(said)), [alike, ones], len(said)), share)
        return measure(float(alike.mean()), "share", interval_of(draw({"same": form}, len(said))["same"]), len(said))
    if mine.units is None or theirs.units is None:
        return absent("share", "two numbers are hardly ever the same answer; see the paired drop")
    rows, same = len(mine.answers.outputs), mine.units.said == theirs.units.said
    form = Sums(by_row(mine.units.row, [same, np.ones(len(same))], rows), share)
    return measure(float(same.mean()), "share", interval_of(draw({"same": form}, rows)["same"]), rows)
