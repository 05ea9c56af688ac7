"""A measure as plain JSON: value, unit, interval, count, and the reason when there is no value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compress.bench.statistics import Interval

KEPT_SAMPLES = 400


def measure(
    value: float, unit: str, interval: Interval | None = None, n: int = 1, samples: Sequence[float] | None = None
) -> dict[str, Any]:
    """`{"value", "unit", "interval", "n", "samples"?}`. At most 400 samples are kept, evenly from first to last."""
    made: dict[str, Any] = {
        "value": _short(value),
        "unit": unit,
        "interval": None if interval is None else [_short(bound) for bound in interval],
        "n": n,
    }
    if samples is not None:
        made["samples"] = [_short(sample) for sample in thinned(samples)]
    return made


def absent(unit: str, why: str) -> dict[str, Any]:
    """A measure without a value, and why."""
    return {"value": None, "unit": unit, "interval": None, "n": 0, "why": why}


def thinned(samples: Sequence[float], most: int = KEPT_SAMPLES) -> list[float]:
    """At most `most` samples, evenly spaced in time."""
    if len(samples) <= most:
        return list(samples)
    return [samples[index] for index in np.linspace(0, len(samples) - 1, most).round().astype(int)]


def _short(value: float) -> float:
    """Six significant digits: more than any clock here supports, and a file half as long. Counts stay exact."""
    return value if isinstance(value, int) else float(f"{value:.6g}")
