"""What the hooks keep is what the model computed."""

from __future__ import annotations

import pytest
import torch

from compress.anatomy.base import ANATOMIES, anatomy_of
from compress.anatomy.capture import Tap, Wanted
from compress.core.errors import InputError
from tests.models import batch, tiny


@pytest.mark.parametrize("family", ANATOMIES.names())
def test_hidden_states_are_those_of_transformers(family: str) -> None:
    """Prevents an off-by-one: layer 0 must be the embedding output and layer k the output of layer k."""
    model, inputs = tiny(family), batch(pad=1 if family == "roberta" else 0)
    expected = model(**inputs, output_hidden_states=True).hidden_states
    with Tap(model, Wanted(hidden=frozenset(range(5)), logits=False)) as tap:
        trace = tap(inputs)
    assert trace.depth == 4
    for layer in range(5):
        assert torch.equal(trace.hidden_at(layer), expected[layer])


@pytest.mark.parametrize("family", ANATOMIES.names())
def test_scores_become_the_attention_of_transformers(family: str) -> None:
    """Prevents wrong heads or scale: softmax of the captured scores must be the model's own attention."""
    model, inputs = tiny(family), batch(pad=1 if family == "roberta" else 0)
    model.set_attn_implementation("eager")
    expected = model(**inputs, output_attentions=True).attentions
    with Tap(model, Wanted(attention=frozenset({1, 3}))) as tap:
        trace = tap(inputs)
    hidden = (inputs["attention_mask"] == 0)[:, None, None, :]
    for layer in (1, 3):
        found = trace.attention_scores(layer).masked_fill(hidden, float("-inf")).softmax(-1)
        assert torch.allclose(found, expected[layer - 1], atol=1e-6)


def test_keeps_only_what_was_asked_and_leaves_no_hook() -> None:
    """Prevents a loop that pays for layers that nobody compares, and a student that is saved with hooks on."""
    model = tiny("bert")
    with Tap(model, Wanted(hidden=frozenset({2}), attention=frozenset({1}))) as tap:
        trace = tap(batch())
        with pytest.raises(InputError, match="no hidden state of layer 1"):
            trace.hidden_at(1)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("family", ANATOMIES.names())
def test_every_named_part_is_there(family: str) -> None:
    """Prevents an anatomy that names a part which the installed transformers calls otherwise."""
    model = tiny(family)
    anatomy = anatomy_of(model)
    layer = anatomy.layer_list(model)[0]
    for name in anatomy.layer_parts():
        assert list(layer.get_submodule(name).parameters())
    for name in (anatomy.embeddings, anatomy.word_embeddings, anatomy.position_embeddings, anatomy.embedding_norm):
        assert list(model.base_model.get_submodule(name).parameters())
    assert (anatomy.depth(model), anatomy.heads(model), anatomy.width(model), anatomy.ffn_width(model)) == (
        4,
        4,
        16,
        32,
    )


def test_an_unknown_family_is_refused_by_name() -> None:
    """Prevents silent nonsense on an architecture that nobody described."""
    model = tiny("bert")
    model.config.model_type = "gpt2"
    with pytest.raises(InputError, match="'gpt2' are not supported"):
        anatomy_of(model)


@pytest.mark.parametrize("family", ANATOMIES.names())
def test_without_logits_the_head_does_not_run_and_the_states_are_the_same(family: str) -> None:
    """Prevents a general stage that multiplies by the whole vocabulary for nothing, or sees other states for it."""
    model, inputs = tiny(family), batch(pad=1 if family == "roberta" else 0)
    with Tap(model, Wanted(hidden=frozenset({0, 4}))) as tap:
        expected = tap(inputs)
    with Tap(model, Wanted(hidden=frozenset({0, 4}), logits=False)) as tap:
        found = tap(inputs)
    assert expected.logits is not None and found.logits is None
    assert all(torch.equal(found.hidden_at(layer), expected.hidden_at(layer)) for layer in (0, 4))
