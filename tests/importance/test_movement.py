"""The criterion movement: what a training's gates have shut counts nothing, and what is missing is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compress.anatomy.base import anatomy_of
from compress.core.errors import InputError
from compress.importance.base import Evidence
from compress.importance.counts import allowed, nearest
from compress.importance.movement import FILE, Movement, store_scores, stored_scores
from tests.models import tiny

BOTH = frozenset({"heads", "neurons"})


def evidence(folder: Path) -> Evidence:
    """Scores of a two-layer student of 4 heads and 32 neurons, half of them shut; of the open ones some negative."""
    student = tiny("bert", layers=2)
    anatomy = anatomy_of(student)
    sizes = {block.name: block.heads for block in anatomy.attention_blocks(student)}
    sizes |= {block.name: block.neurons for block in anatomy.ffn_blocks(student)}
    scores = {name: torch.arange(float(size)) - size for name, size in sizes.items()}
    gates = {name: (torch.arange(size) >= size // 2).float() for name, size in sizes.items()}
    store_scores(folder, scores, gates)
    return Evidence(stored=stored_scores(folder))


def test_the_shut_count_nothing_and_the_open_keep_their_order(tmp_path: Path) -> None:
    """Prevents signed sums that a budget takes for parts which harm, and a kept part that ranks below a shut one."""
    found = Movement().score(tiny("bert", layers=2), BOTH, evidence(tmp_path))
    assert len(found.heads) == len(found.neurons) == 2
    for values in (*found.heads.values(), *found.neurons.values()):
        half = len(values) // 2
        assert values[:half].tolist() == [0.0] * half
        assert bool((values[half:] > 0).all()) and bool((values[half:].diff() > 0).all())
    assert Movement().score(tiny("bert", layers=2), frozenset({"heads"}), evidence(tmp_path)).neurons == {}


def test_scores_that_are_not_there_are_said(tmp_path: Path) -> None:
    """Prevents a KeyError for a model that was never trained with gates, or was cut since, or whose file is damaged."""
    student = tiny("bert", layers=2)
    with pytest.raises(InputError, match=r"no movement.safetensors.*distil it first with `gates: \{movement"):
        Movement().score(student, BOTH, Evidence(stored=stored_scores(tmp_path)))
    held = evidence(tmp_path)
    only = {name: value for name, value in held.stored.items() if "attention" in name}
    with pytest.raises(InputError, match="no gates on ffn"):
        Movement().score(student, BOTH, Evidence(stored=only))
    cut = {name: value[:2] if "attention" in name else value for name, value in held.stored.items()}
    with pytest.raises(InputError, match=r"left 2 scores for .*, and the model has 4 parts there: it was cut since"):
        Movement().score(student, BOTH, Evidence(stored=cut))
    with pytest.raises(InputError, match=r"layer.1.*, and the model has no such block: it was cut since"):
        Movement().score(tiny("bert", layers=1), BOTH, held)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:50])
    with pytest.raises(InputError, match="damaged"):
        stored_scores(tmp_path)


def test_sizes_by_hand() -> None:
    """Prevents sizes that no kernel likes, and gates and cuts that round to different numbers."""
    assert allowed(4, 4, 8) == (2, 4) and allowed(3, 16, 8) == (1, 2, 3) and allowed(20, 1, 8) == (8, 16, 20)
    assert nearest((8, 16, 24), 12) == 16 and nearest((8, 16, 24), 11.9) == 8
