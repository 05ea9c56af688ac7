"""How many parts of a block may be kept, so that what is left is a size that processors like."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


def allowed(number: int, each: int, multiple: int) -> tuple[int, ...]:
    """The counts of `number` parts, each `each` features wide, that keep a multiple of `multiple` features, rising.

    At least one part stays. `number` itself is always allowed: a block may stay as it is.
    """
    return (*(count for count in range(1, number) if count * each % multiple == 0), number)


def nearest(counts: Sequence[int], wanted: float) -> int:
    """The count, of rising ones, that is nearest to a wanted one; the larger of two that are equally near."""
    above = bisect_left(counts, wanted)
    around = counts[max(above - 1, 0) : above + 1]
    return min(around, key=lambda count: (abs(count - wanted), -count))
