"""Layer maps against hand-computed pairs."""

from __future__ import annotations

from typing import Any

import pytest

from compress.core.errors import InputError
from compress.core.layer_maps import layer_pairs


@pytest.mark.parametrize(
    ("layer_map", "student", "teacher", "expected"),
    [
        # TinyBERT, sec. 4.1: 4 of 12 by g(m) = 3m, 6 of 12 by 2m.
        ("uniform", 4, 12, [(1, 3), (2, 6), (3, 9), (4, 12)]),
        ("uniform", 6, 12, [(1, 2), (2, 4), (3, 6), (4, 8), (5, 10), (6, 12)]),
        # 6/4 = 1.5: 1.5, 3, 4.5, 6 round half up to 2, 3, 5, 6.
        ("uniform", 4, 6, [(1, 2), (2, 3), (3, 5), (4, 6)]),
        # 12/5 = 2.4: 2.4, 4.8, 7.2, 9.6, 12.
        ("uniform", 5, 12, [(1, 2), (2, 5), (3, 7), (4, 10), (5, 12)]),
        ("uniform", 1, 6, [(1, 6)]),
        ("uniform", 3, 3, [(1, 1), (2, 2), (3, 3)]),
        ("last", 2, 6, [(1, 5), (2, 6)]),
        ("first", 2, 6, [(1, 1), (2, 2)]),
        ([[0, 0], [2, 6], [1, 1]], 2, 6, [(0, 0), (2, 6), (1, 1)]),
        ([[1, 6], [1, 5]], 1, 6, [(1, 6), (1, 5)]),
    ],
)
def test_pairs(layer_map: Any, student: int, teacher: int, expected: list[tuple[int, int]]) -> None:
    """An off-by-one map trains without complaint, towards the wrong layers."""
    assert layer_pairs(layer_map, student, teacher) == expected


@pytest.mark.parametrize("name", ["uniform", "last", "first"])
def test_a_named_map_ends_inside_the_teacher(name: Any) -> None:
    """Every student layer has one teacher layer, in order and in range, whatever the depths."""
    for teacher in range(1, 25):
        for student in range(1, teacher + 1):
            pairs = layer_pairs(name, student, teacher)
            targets = [target for _, target in pairs]
            assert [source for source, _ in pairs] == list(range(1, student + 1))
            assert targets == sorted(set(targets))
            assert targets[0] >= 1
            assert targets[-1] <= teacher
            assert name == "first" or targets[-1] == teacher


@pytest.mark.parametrize(
    ("layer_map", "student", "teacher", "words"),
    [
        ("uniform", 7, 6, "no deeper than its teacher: the student has 7 layers, the teacher 6"),
        ([[1, 7]], 2, 6, r"names teacher layer 7; the teacher has layers 0 \(embeddings\) to 6"),
        ([[3, 1]], 2, 6, "names student layer 3"),
        ([[-1, 1]], 2, 6, "names student layer -1"),
        ([], 2, 6, "the layer map is empty"),
    ],
)
def test_a_map_past_the_depth_is_refused(layer_map: Any, student: int, teacher: int, words: str) -> None:
    """Python's negative and modular indexing would quietly pick another layer."""
    with pytest.raises(InputError, match=words):
        layer_pairs(layer_map, student, teacher)
