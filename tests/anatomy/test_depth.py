"""Depths of weights, for the families that have an anatomy."""

from __future__ import annotations

import pytest
from torch import nn

from compress.anatomy.depth import depth_of_weights
from tests import models


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_every_weight_has_its_layer(family: str) -> None:
    """A name pattern that fits one family only leaves the others at one learning rate."""
    model = models.tiny(family, layers=2)
    holder = nn.ModuleDict({"student": model, "projection": nn.Linear(2, 2)})
    depth_of = depth_of_weights(model, holder)
    depths = {name: depth_of(name) for name, _ in holder.named_parameters()}
    assert depths["projection.weight"] is None
    assert {depth for name, depth in depths.items() if "embeddings" in name} == {0}
    for layer in (0, 1):
        found = {depth for name, depth in depths.items() if f"layer.{layer}." in name}
        assert found == {layer + 1}
    outside = {name: depth for name, depth in depths.items() if "embeddings" not in name and "layer." not in name}
    assert set(outside.values()) == {None}, outside
