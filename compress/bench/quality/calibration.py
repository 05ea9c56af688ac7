"""Whether a subject is as often right as it is sure: expected calibration error (Guo et al. 2017, arXiv:1706.04599)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from compress.bench.measures import absent, measure
from compress.bench.quality.answers import Floats, Units
from compress.bench.quality.draws import draw
from compress.bench.quality.forms import Sums
from compress.bench.statistics import Interval, interval_of

BINS = 15
BINNING = f"{BINS} bins of equal mass, by the probability of the answer"


def calibration(units: Units, rows: int) -> dict[str, Any]:
    """`{"ece", "binning", "confidence", "bins"}`. confidence: the mean probability of the answers; bins: by bin
    `[mean probability, share right, units]`. Units that the model did not see are left out."""
    seen = np.flatnonzero(units.said >= 0)
    if not len(seen):
        return {"ece": absent("share", "the model saw no unit")}
    order = seen[np.argsort(units.sure[seen], kind="stable")]
    bins = [one for one in np.array_split(order, BINS) if len(one)]
    number = np.repeat(np.arange(len(bins)), [len(one) for one in bins])
    gap = units.right[order] - units.sure[order]
    stats = sparse.csr_matrix((gap, (units.row[order], number)), shape=(rows, len(bins)))
    counts = sparse.csr_matrix((np.ones(len(order)), (units.row[order], number)), shape=(rows, len(bins)))
    form = Sums(sparse.hstack([stats, counts], format="csr"), _error)
    value = float(form(np.ones((1, rows)))[0])
    return {
        "ece": measure(value, "share", _pivot(value, draw({"ece": form}, rows)["ece"]), rows),
        "binning": BINNING,
        "confidence": float(f"{units.sure[order].mean():.6g}"),
        "bins": [
            [float(f"{units.sure[one].mean():.4g}"), float(f"{units.right[one].mean():.4g}"), len(one)] for one in bins
        ],
    }


def _error(sums: Floats) -> Floats:
    """The mean over units of |right - sure| of their bin. sums: gaps of each bin, then counts."""
    bins = sums.shape[1] // 2
    return np.asarray(np.abs(sums[:, :bins]).sum(1) / sums[:, bins:].sum(1))


def _pivot(value: float, draws: Floats) -> Interval | None:
    """The reversed bootstrap interval, from 0 up and holding the value.

    The error of few rows is larger than that of many, and a draw of them larger again; the plain percentiles would
    count that twice, the reversed ones take it off.
    """
    found = interval_of(draws)
    if found is None:
        return None
    return max(0.0, min(2 * value - found[1], value)), max(2 * value - found[0], value)
