"""What was cut is saved and opened again: as stock where that can be, with its shapes otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from compress.anatomy.base import prunable_families, structure_of
from compress.importance.masks import ones
from compress.prune.kept_layers import LayerPlan, keep_layers
from compress.prune.masked_cut import cut_masked
from compress.prune.proof import outputs_of, prove, random_batches
from compress.prune.slicing import tied
from compress.shapes.low_rank import LowRankLinear
from compress.shapes.settle import settle
from tests.models import HEADS, prunable, tiny
from tests.prune.test_cutting import uneven


def same(saved: PreTrainedModel, opened: PreTrainedModel) -> None:
    """Weights to the bit; outputs but for the order in which a sum is taken, which hangs on where memory starts."""
    assert set(opened.state_dict()) == set(saved.state_dict())
    assert all(torch.equal(value, opened.state_dict()[name]) for name, value in saved.state_dict().items())
    for inputs in random_batches(saved):
        one, two = outputs_of(saved.eval(), inputs), outputs_of(opened.eval(), inputs)
        assert all(torch.allclose(value, two[name], atol=1e-6) for name, value in one.items())


@pytest.mark.parametrize("family", prunable_families())
def test_uneven_cuts_open_as_they_were_saved(family: str, tmp_path: Path) -> None:
    """Prevents a pruned model that cannot be opened, or opens as another one."""
    model = prunable(family)
    smaller = cut_masked(model, uneven(model, real=True)).eval()
    smaller.save_pretrained(tmp_path)
    same(smaller, type(smaller).from_pretrained(tmp_path))


def test_the_auto_classes_open_uneven_cuts(tmp_path: Path) -> None:
    """Prevents folders that need the class by name."""
    model = tiny("roberta", layers=2)
    smaller = cut_masked(model, uneven(model))
    smaller.save_pretrained(tmp_path)
    same(smaller, AutoModelForSequenceClassification.from_pretrained(tmp_path))


@pytest.mark.parametrize("family", ["bert", "distilbert", "gpt2", "t5", "albert"])
def test_equal_feed_forwards_are_stock(family: str) -> None:
    """Prevents a class of our own where none is needed."""
    model = prunable(family)
    masks = ones(model)
    masks.neurons = {name: (torch.arange(len(mask)) % 2).float() for name, mask in masks.neurons.items()}
    assert type(cut_masked(model, masks)) is type(model)


def test_layers_of_an_uneven_model_can_go() -> None:
    """Prevents shapes that go on to other layers when some are taken out."""
    model = tiny("bert")
    once = cut_masked(model, uneven(model))
    twice = keep_layers(once, (2, 4))
    prove(once, twice, LayerPlan((2, 4)))
    blocks = structure_of(once).attention_blocks(once)
    left = structure_of(twice).attention_blocks(twice)
    assert [block.heads for block in left] == [blocks[1].heads, blocks[3].heads]


def test_an_uneven_masked_token_model_stays_tied(tmp_path: Path) -> None:
    """Prevents embeddings that are stored twice, or untied when opened."""
    model = tiny("bert", layers=2, head="mask")
    smaller = cut_masked(model, uneven(model))
    smaller.save_pretrained(tmp_path)
    assert tied(HEADS["mask"].from_pretrained(tmp_path)) == tied(model)


def test_products_of_two_matrices_are_cut_too(tmp_path: Path) -> None:
    """Prevents an order of steps, factorize before prune, that ends in an error or in other features."""
    model = tiny("bert", layers=2)
    layer = model.get_submodule("bert.encoder.layer.0")
    for name in ("attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense"):
        holder, _, leaf = name.rpartition(".")
        old = layer.get_submodule(name)
        new = LowRankLinear(old.in_features, old.out_features, 5)  # type: ignore[arg-type]
        setattr(layer.get_submodule(holder), leaf, new)
    model = settle(model)
    masks = uneven(model, real=True)
    smaller = cut_masked(model, masks)
    prove(model, smaller, masks)
    smaller.save_pretrained(tmp_path)
    same(smaller, AutoModelForSequenceClassification.from_pretrained(tmp_path))
