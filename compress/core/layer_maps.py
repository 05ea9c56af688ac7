"""Layer maps: which teacher layer each student layer imitates.

Layers count from 1; 0 is the embedding output, which every map sends to 0. With n student and m teacher layers
`uniform` sends k to round(k m / n) (TinyBERT, Jiao et al. 2020, sec. 4.1), `last` to m - n + k, `first` to k.

`attention` and `transport` are soft: every student layer is compared with all teacher layers, and the weights follow
the states (`compress/losses/soft_maps.py`). Only a loss that says `soft_maps` takes them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compress.core.errors import InputError

SOFT_MAPS = ("attention", "transport")

LayerMap = Annotated[
    Literal["uniform", "last", "first", "attention", "transport"]
    | list[Annotated[list[int], Field(min_length=2, max_length=2)]],
    Field(
        description="uniform, last, first, explicit [student, teacher] pairs (layers count from 1), or learned: "
        "attention, transport"
    ),
]


def layer_pairs(layer_map: LayerMap, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
    """(student layer, teacher layer) pairs of a map, in order.

    Raises InputError for a map past either depth, and for a soft map, which has weights instead of pairs.
    """
    if isinstance(layer_map, str):
        if layer_map in SOFT_MAPS:
            raise InputError(
                f"the map {layer_map!r} weighs all teacher layers, and this loss compares chosen pairs; use uniform, "
                f"last, first or explicit pairs"
            )
        _refuse_deeper(student_depth, teacher_depth, layer_map)
        return [(k, _named(layer_map, k, student_depth, teacher_depth)) for k in range(1, student_depth + 1)]
    pairs = [(pair[0], pair[1]) for pair in layer_map]
    if not pairs:
        raise InputError("the layer map is empty; give at least one [student, teacher] pair")
    for student, teacher in pairs:
        _refuse_past(student, student_depth, "student")
        _refuse_past(teacher, teacher_depth, "teacher")
    return pairs


def all_pairs(student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
    """Every (student layer, teacher layer) pair, the embeddings left out: what a soft map reads."""
    return [(one, two) for one in range(1, student_depth + 1) for two in range(1, teacher_depth + 1)]


def _named(name: str, layer: int, student_depth: int, teacher_depth: int) -> int:
    if name == "first":
        return layer
    if name == "last":
        return teacher_depth - student_depth + layer
    return (2 * layer * teacher_depth + student_depth) // (2 * student_depth)


def _refuse_deeper(student_depth: int, teacher_depth: int, name: str) -> None:
    if student_depth > teacher_depth:
        raise InputError(
            f"the map {name!r} needs a student no deeper than its teacher: the student has {student_depth} layers, "
            f"the teacher {teacher_depth}; give explicit pairs or a shallower student"
        )


def _refuse_past(layer: int, depth: int, who: str) -> None:
    if not 0 <= layer <= depth:
        raise InputError(f"the layer map names {who} layer {layer}; the {who} has layers 0 (embeddings) to {depth}")
