"""Numbers over seeds: their mean's interval."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}


def over_seeds(values: Sequence[float]) -> list[float] | None:
    """The 95 % interval of the mean over seeds (Student's t); none for one seed, which says nothing of the others."""
    if len(values) < 2:
        return None
    mean = statistics.mean(values)
    half = T_95.get(len(values), 1.96) * statistics.stdev(values) / len(values) ** 0.5
    return [mean - half, mean + half]
