"""Shared layers: what each group starts from, what stays, and which groups are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.factorize.base import Factorized, Job
from compress.factorize.share_layers import ShareLayers
from compress.students.narrowing import layer_weights
from compress.train.facts import parameters
from tests.models import HEADS, inputs_for, tiny
from tests.students.test_inits import states


def shared(model: PreTrainedModel, head: str = "classify", **options: Any) -> Factorized:
    """The model with fewer sets of layer weights."""
    return ShareLayers(**options).factorize(Job(model, HEADS[head]))


@pytest.mark.parametrize(
    ("options", "sources"),
    [
        ({"groups": 1}, [(1, 2, 3, 4)] * 4),
        ({"groups": 2}, [(1, 2), (1, 2), (3, 4), (3, 4)]),
        ({"groups": 2, "start": "anchor", "anchor": 2}, [(2,), (2,), (4,), (4,)]),
    ],
)
def test_each_layer_runs_its_groups_weights(options: dict[str, Any], sources: list[tuple[int, ...]]) -> None:
    """Prevents groups that ALBERT runs otherwise than they were filled, and a mean over the wrong layers."""
    model = tiny("bert")
    made = shared(model, **options)
    for number, chosen in enumerate(sources, 1):
        one, two = layer_weights(model, chosen), layer_weights(made.model, (number,))
        assert all(torch.allclose(one[name], two[name], atol=1e-7) for name in one)
    assert made.model.config.num_hidden_groups == made.facts["groups"] == options["groups"]
    assert parameters(made.model)["encoder"] * 4 == parameters(model)["encoder"] * options["groups"]


@pytest.mark.parametrize(("family", "head"), [("bert", "classify"), ("roberta", "classify"), ("bert", "mask")])
def test_equal_layers_share_without_loss(family: str, head: str) -> None:
    """Prevents embeddings, norms or heads that change on the way: a model whose layers are equal stays what it is."""
    model = tiny(family, head=head)
    first = model.base_model.encoder.layer[0].state_dict()
    for layer in model.base_model.encoder.layer:
        layer.load_state_dict(first)
    inputs = inputs_for(model)
    made = shared(model, head)
    with torch.no_grad():
        assert torch.allclose(made.model(**inputs).logits, model(**inputs).logits, atol=1e-5)
    assert made.facts["random"] == [] and made.lost == ["4 layers run 1 of their weights"]


def test_full_embeddings_are_exact_and_narrow_ones_are_not() -> None:
    """Prevents tables that are turned or cut where no width was asked for."""
    model = tiny("bert")
    inputs = inputs_for(model)
    wanted = states(model, inputs)[0]
    made = shared(model)
    assert torch.allclose(states(made.model, inputs)[0], wanted, atol=1e-6)
    words = model.base_model.embeddings.word_embeddings.weight
    assert torch.equal(made.model.base_model.embeddings.word_embeddings.weight, words)
    narrow = shared(model, width=6, weighted=False)
    assert narrow.model.config.embedding_size == 6 and 0 < narrow.facts["kept_energy"] < 1
    assert 0.01 < (states(narrow.model, inputs)[0] - wanted).norm() / wanted.norm() < 0.9


def test_an_albert_can_share_more() -> None:
    """Prevents a second sharing that counts groups as layers, and one that shares nothing."""
    two = shared(tiny("bert"), groups=2).model
    one = shared(two, groups=1)
    every = layer_weights(two, (1, 3))
    assert torch.allclose(layer_weights(one.model, (1,))["query.weight"], every["query.weight"], atol=1e-6)
    with pytest.raises(InputError, match="this albert has one set of layer weights already; nothing is left to share"):
        shared(one.model)


def test_groups_that_do_not_fit_are_refused() -> None:
    """Prevents groups of different sizes, more groups than layers, as many, and an anchor past its group."""
    model = tiny("bert")
    for groups in (3, 8):
        with pytest.raises(InputError, match=f"groups: {groups} do not share 4 layers evenly; use one of 1, 2"):
            shared(model, groups=groups)
    with pytest.raises(InputError, match="and 4 are no fewer"):
        shared(model, groups=4)
    with pytest.raises(InputError, match="anchor: 3 is past a group's 2 layers; use 1 to 2"):
        shared(model, groups=2, start="anchor", anchor=3)
    with pytest.raises(InputError, match="not narrower than the model's 16"):
        shared(model, width=16)
    with pytest.raises(InputError, match="holds a mpnet"):
        shared(tiny("mpnet"))


def test_options_that_nothing_reads() -> None:
    """Prevents an anchor beside an average, and a weight of tables that are not cut."""
    for given in ({"anchor": 2}, {"weighted": False}, {"groups": 0}, {"width": 2}, {"start": "middle"}):
        with pytest.raises(ValidationError):
            ShareLayers.model_validate(given)
