"""Which training rows must stay in one batch, for losses that rank the candidates of a query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from compress.core.errors import InputError
from compress.core.reporter import Reporter
from compress.losses.base import Loss
from compress.tasks.features import Feature


def groups_of(
    losses: Sequence[Loss], features: Sequence[Feature], batch_size: int, reporter: Reporter
) -> list[str] | None:
    """The group of each feature; None when no loss reads groups.

    Warns of groups that no batch holds whole. Raises InputError when no batch could hold two candidates of one query.
    """
    names = [loss.registered_name for loss in losses if "groups" in loss.needs]
    if not names:
        return None
    groups = [str(feature["group"]) for feature in features]
    sizes = Counter(groups)
    largest = max(sizes.values())
    if largest < 2:
        raise InputError(
            f"{names[0]}: compares the candidates of a query, and each of the {len(sizes)} groups of this corpus has "
            f"one row; is `group` the column of the query?"
        )
    if batch_size < 2:
        raise InputError(f"{names[0]}: compares the candidates of a query, and batch_size is 1; set it to 2 or more")
    split = sum(size > batch_size for size in sizes.values())
    if split:
        reporter.warn(
            f"{split} of {len(sizes)} groups have more rows than a batch ({batch_size}; the largest: {largest}): each "
            f"epoch cuts them anew, and rows of two parts are not compared; raise batch_size where memory allows"
        )
    return groups
