"""What the losses on layers share: layer maps, masks, and walking a map over two traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from compress.core.errors import InputError
from compress.core.layer_maps import LayerMap, layer_pairs
from compress.core.trace import Trace

FinalMap = Annotated[
    Literal["final"] | LayerMap,
    Field(description="final (last to last), uniform, last, first, or explicit [student, teacher] pairs"),
]
Pairs = Callable[[int, int], list[tuple[int, int]]]
Compare = Callable[[Tensor, Tensor, Tensor], Tensor]


def compare_layers(student: Trace, teacher: Trace, pairs: Pairs, compare: Compare) -> Tensor:
    """Sum of `compare(student [b, s, d], teacher [b, s, d], mask [b, s])` over the layer pairs, in float32."""
    refuse_nothing(student.mask)
    total: Tensor | None = None
    for one, two in pairs(student.depth, teacher.depth):
        term = compare(student.hidden_at(one).float(), teacher.hidden_at(two).float(), student.mask)
        total = term if total is None else total + term
    if total is None:
        raise InputError("the layer map is empty; give at least one [student, teacher] pair")
    return total


def final_pairs(layer_map: FinalMap, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
    """(student layer, teacher layer) pairs of a map that may be `final`. Raises InputError past either depth."""
    if layer_map == "final":
        return [(student_depth, teacher_depth)]
    return layer_pairs(layer_map, student_depth, teacher_depth)


def inner_pairs(pairs: list[tuple[int, int]], name: str) -> list[tuple[int, int]]:
    """The same pairs. Raises InputError for layer 0, which has neither queries nor keys nor values."""
    if any(0 in pair for pair in pairs):
        raise InputError(f"{name}: layer 0 is the embedding output and has no attention; layers count from 1")
    return pairs


def refuse_nothing(mask: Tensor) -> None:
    """Raises InputError when no position of a mask is real."""
    if not bool(mask.any()):
        raise InputError("every position is masked; a loss over nothing is not defined")


def mean_over(terms: list[Tensor]) -> Tensor:
    """The mean of the terms of a layer map."""
    return torch.stack(terms).mean()


def directions(vectors: Tensor, dim: int = -1) -> Tensor:
    """Vectors divided by their length; 0, with gradient 0, for a vector of no length, whose direction may be any."""
    length: Tensor = torch.linalg.vector_norm(vectors, dim=dim, keepdim=True)
    some = length > 0
    return vectors * length.where(some, 1.0).reciprocal().where(some, 0.0)


def same_tokens(student: Tensor, teacher: Tensor) -> None:
    """Raises InputError when two masks `[b, s]` are of unequal shape, so that positions mean other tokens."""
    if student.shape != teacher.shape:
        raise InputError(
            f"the student saw {student.shape[1]} tokens and the teacher {teacher.shape[1]}; "
            f"comparing tokens needs one vocabulary for both"
        )


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
