"""Numbers over seeds: their mean's interval, and claims of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.claims import claim

T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306}
MORE = 2.262  # of ten; too wide for more than that, never too narrow


def over_seeds(values: Sequence[float]) -> list[float] | None:
    """The 95 % interval of the mean over seeds (Student's t); none for one seed, which says nothing of the others."""
    if len(values) < 2:
        return None
    mean = statistics.mean(values)
    half = T_95.get(len(values), MORE) * statistics.stdev(values) / len(values) ** 0.5
    return [mean - half, mean + half]


def over(name: str, values: Sequence[float], target: str, unit: str) -> dict[str, Any]:
    """A claim of a mean over seeds. One that was not run has no value; nor has one of a single seed, whose chance
    nobody knows: that would be met without an interval. Its number stands in the rows.
    """
    if len(values) < 2:
        return claim(f"{name} ({'one seed: see the rows' if values else 'not run'})", None, target, unit)
    return claim(name, statistics.mean(values), target, unit, over_seeds(values))
