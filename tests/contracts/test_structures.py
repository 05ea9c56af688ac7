"""What every family that can be pruned must say truly; a new file under compress/anatomy is picked up by name."""

from __future__ import annotations

import pytest
import torch

from compress.anatomy.base import ANATOMIES, anatomy_of, prunable_families, structure_of
from compress.anatomy.blocks import features
from compress.anatomy.structure import STRUCTURES
from compress.core.errors import InputError
from compress.importance.masks import masked, ones
from compress.prune.proof import outputs_of, random_batches
from tests.models import prunable


@pytest.mark.parametrize("family", prunable_families())
def test_blocks_name_matrices_that_fit(family: str) -> None:
    """Prevents a block that names another matrix, a wrong number of heads, or one block twice."""
    model = prunable(family)
    structure = structure_of(model)
    attentions, feeds = structure.attention_blocks(model), structure.ffn_blocks(model)
    names = [block.name for block in (*attentions, *feeds)]
    assert attentions and feeds and len(set(names)) == len(names)
    for block in attentions:
        given = block.heads * block.head_width
        assert features(model.get_submodule(block.output))[0] == given
        for name in (*block.inputs, *block.beside):
            assert features(model.get_submodule(name))[1] == given * (3 if block.fused else 1)
        assert structure.head_width(model.get_submodule(block.holder)) == block.head_width
        if block.table:
            assert block.together and model.get_submodule(block.table).get_parameter("weight").shape[1] == block.heads
    for feed in feeds:
        assert features(model.get_submodule(feed.output))[0] == feed.neurons
        assert all(features(model.get_submodule(name))[1] == feed.neurons for name in feed.inputs)


@pytest.mark.parametrize("family", prunable_families())
def test_every_head_and_feed_forward_is_found(family: str) -> None:
    """Prevents an attention or a feed-forward that nobody scores or cuts: without all, no token sees another."""
    model = prunable(family)
    blocks = structure_of(model).attention_blocks(model)
    expected = {"t5": 2 + 2 * 3, "albert": 1}.get(family, 4)
    assert len(blocks) == expected
    assert {block.layer for block in blocks} <= set(range(1, structure_of(model).depth(model) + 1))
    masks = ones(model)
    for mask in masks.heads.values():
        mask.zero_()
    inputs = list(random_batches(model))[-1]
    changed = {**inputs, "input_ids": inputs["input_ids"].clone()}
    changed["input_ids"][:, 1] = 7 + (changed["input_ids"][:, 1] == 7)
    one, two = (outputs_of(model, given)["states"][:, 2] for given in (inputs, changed))
    assert not torch.allclose(one, two, atol=1e-6)
    with masked(model, masks):
        one, two = (outputs_of(model, given)["states"][:, 2] for given in (inputs, changed))
    assert torch.allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("family", prunable_families())
def test_the_config_says_the_shape_under_the_names_given(family: str) -> None:
    """Prevents a cut that writes a number which nothing reads."""
    model = prunable(family)
    structure = structure_of(model)
    held = {
        name: getattr(model.config, key, None) for name, key in structure.config_names.items() if name != "head_width"
    }
    assert held["width"] == structure.width(model) == 16
    assert held["heads"] == 4
    assert held["ffn"] == (None if family == "gpt2" else 32)


@pytest.mark.parametrize("family", STRUCTURES.names())
def test_structures_that_are_no_encoders_neither_teach_nor_start_students(family: str) -> None:
    """Prevents a decoder that passes for an encoder in distillation."""
    assert family not in ANATOMIES.names()
    with pytest.raises(InputError, match=f"family '{family}' are not supported yet"):
        anatomy_of(prunable(family))
