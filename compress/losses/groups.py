"""What the losses on rankings share: scores of candidates, and which rows are candidates of one query."""

from __future__ import annotations

import torch
from torch import Tensor

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.losses.outputs import flat_logits, same_outputs


def group_scores(student: Trace, teacher: Trace, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Both scores `[n]` in float32, and `[n, n]` bool, true where two rows belong together (a row with itself too).

    Raises InputError without groups and for several outputs.
    """
    one, two = flat_logits(student), flat_logits(teacher)
    same_outputs(one, two)
    if one.shape[-1] != 1:
        raise InputError(f"{name} compares one score for each candidate; this head has {one.shape[-1]} outputs")
    if student.groups is None:
        raise InputError(
            f"{name} needs groups: the rows of one query's candidates carry the same number in `groups` (the option "
            f"`group` of the tasks regress and embed)"
        )
    groups = student.groups if student.outputs is None else student.groups[student.outputs]
    together = groups[:, None] == groups[None, :]
    return one[:, 0], two[:, 0], together


def mean_over_groups(row_terms: Tensor, together: Tensor) -> Tensor:
    """Mean over groups of two or more rows of the mean of `row_terms` `[n]` over a group's rows.

    0, with a gradient path, where every group has one row: such batches come from queries with one candidate.
    """
    size = together.sum(1)
    share = torch.where(size > 1, 1 / size, 0.0)
    return (row_terms * share).sum() / share.sum().clamp(min=1)
