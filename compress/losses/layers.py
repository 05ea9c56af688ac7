"""What the losses on hidden states share: walking a layer map over two traces."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from compress.core.errors import InputError
from compress.core.trace import Trace

Pairs = Callable[[int, int], list[tuple[int, int]]]
Compare = Callable[[Tensor, Tensor, Tensor], Tensor]


def compare_layers(student: Trace, teacher: Trace, pairs: Pairs, compare: Compare) -> Tensor:
    """Sum of `compare(student [b, s, d], teacher [b, s, d], mask [b, s])` over the layer pairs, in float32."""
    if not bool(student.mask.any()):
        raise InputError("every position is masked; a loss over nothing is not defined")
    total: Tensor | None = None
    for one, two in pairs(student.depth, teacher.depth):
        term = compare(student.hidden_at(one).float(), teacher.hidden_at(two).float(), student.mask)
        total = term if total is None else total + term
    if total is None:
        raise InputError("the layer map is empty; give at least one [student, teacher] pair")
    return total


def same_width(student: Tensor, teacher: Tensor) -> None:
    """Raises InputError when two hidden states `[b, s, d]` differ in width or length."""
    if student.shape[-1] != teacher.shape[-1]:
        raise InputError(
            f"the student is {student.shape[-1]} wide and the teacher {teacher.shape[-1]}; project the student's "
            f"states first (an Objective does it), or choose a loss that needs no equal widths"
        )
    if student.shape[1] != teacher.shape[1]:
        raise InputError(
            f"the student saw {student.shape[1]} tokens and the teacher {teacher.shape[1]}; "
            f"comparing states needs one vocabulary for both"
        )
