"""What every loss that takes soft layer maps must do under each of them; picked up by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from compress.core.layer_maps import SOFT_MAPS
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss
from tests.contracts.test_losses import padded_otherwise, trace

CASES = [(name, chosen) for name in LOSSES.names() if LOSSES.get(name).soft_maps for chosen in SOFT_MAPS]


def made(name: str, chosen: str) -> tuple[Loss, Trace, Trace]:
    """The loss under the map, and traces of 2 layers for it."""
    return LOSSES.get(name).model_validate({"map": chosen}), trace(1, 3), trace(2, 3)


@pytest.mark.parametrize(("name", "chosen"), CASES)
def test_trains_and_leaves_padding_out(name: str, chosen: str) -> None:
    """Prevents a term without a gradient, one that padding changes, and weights that padding changes."""
    loss, student, teacher = made(name, chosen)
    value = loss(student, teacher)
    assert value.shape == () and torch.isfinite(value)
    changed = padded_otherwise(student), padded_otherwise(teacher)
    assert value.item() == loss(*changed).item() == loss(student, teacher).item()
    value.backward()
    leaves = [leaf for held in (student.hidden, student.queries, student.values) for leaf in (held or {}).values()]
    assert any(leaf.grad is not None and leaf.grad.abs().sum() > 0 for leaf in leaves)
    assert all(leaf.grad is None or torch.isfinite(leaf.grad).all() for leaf in leaves)


@pytest.mark.parametrize(("name", "chosen"), CASES)
def test_tells_its_weights(name: str, chosen: str) -> None:
    """Prevents a manifest without the map that was used: a row of weights for each student layer, summing to 1."""
    loss, student, teacher = made(name, chosen)
    weights = loss.map_weights(student, teacher)
    assert weights is not None and weights.shape == (2, 2)
    assert weights.sum(1).tolist() == pytest.approx([1.0, 1.0])
    assert (weights >= 0).all() and not weights.requires_grad
    assert LOSSES.get(name)().map_weights(student, teacher) is None


@pytest.mark.parametrize(("name", "chosen"), CASES)
def test_works_for_any_two_depths(name: str, chosen: str) -> None:
    """Prevents a map that wants the student to be the shallower one, and layers that are read without being asked."""
    loss, student, teacher = made(name, chosen)
    shallow = replace(
        teacher,
        **{
            part: {layer: held for layer, held in getattr(teacher, part).items() if layer < 2}
            for part in ("hidden", "queries", "keys", "values")
        },
        depth=1,
    )
    assert torch.isfinite(loss(student, shallow))
    assert {pair for pair in loss.pairs(2, 1) if 0 not in pair} == {(1, 1), (2, 1)}
