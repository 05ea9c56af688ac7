"""What the hooks keep, of layers that run once and of those that run several times; every family: tests/contracts."""

from __future__ import annotations

import pytest
import torch
from transformers import AlbertConfig, AlbertModel, DebertaV2Config, DebertaV2Model, ElectraConfig, ElectraModel

from compress.anatomy.base import anatomy_of
from compress.anatomy.capture import Tap, Wanted
from compress.core.errors import InputError
from tests.models import batch, tiny


def test_keeps_only_what_was_asked_and_leaves_no_hook() -> None:
    """Prevents a loop that pays for layers that nobody compares, and a student that is saved with hooks on."""
    model = tiny("bert")
    with Tap(model, Wanted(hidden=frozenset({2}), attention=frozenset({1}))) as tap:
        trace = tap(batch())
        with pytest.raises(InputError, match="no hidden state of layer 1"):
            trace.hidden_at(1)
    assert not any(module._forward_hooks for module in model.modules())


def test_an_unknown_family_is_refused_by_name() -> None:
    """Prevents silent nonsense on an architecture that nobody described."""
    model = tiny("bert")
    model.config.model_type = "gpt2"
    with pytest.raises(InputError, match="'gpt2' are not supported"):
        anatomy_of(model)


def test_a_shared_layer_is_read_at_the_application_that_was_asked_for() -> None:
    """Prevents ALBERT's one layer giving its last (or first) run for every layer, also on the second batch."""
    model = tiny("albert")
    with Tap(model, Wanted(hidden=frozenset({3}), attention=frozenset({2}), values=frozenset({4}))) as tap:
        for rows in (2, 3):
            inputs = batch(rows)
            states = model(**inputs, output_hidden_states=True).hidden_states
            trace = tap(inputs)
            assert trace.hidden is not None and trace.queries is not None and trace.values is not None
            assert (set(trace.hidden), set(trace.queries), set(trace.values)) == ({3}, {2}, {4})
            assert torch.equal(trace.hidden_at(3), states[3])
            attention = anatomy_of(model).layer_list(model)[0].get_submodule("attention")
            query = attention.get_submodule("query")(states[1]).unflatten(-1, (4, 4)).transpose(1, 2)
            value = attention.get_submodule("value")(states[3]).unflatten(-1, (4, 4)).transpose(1, 2)
            assert torch.allclose(trace.queries[2], query) and torch.allclose(trace.values[4], value)


def test_groups_and_inner_layers_count_as_they_run() -> None:
    """Prevents a depth that counts stored layers: 4 runs over 2 groups of 2 layers are 8 layers."""
    config = AlbertConfig(
        vocab_size=50, embedding_size=8, hidden_size=16, num_hidden_layers=4, num_hidden_groups=2, inner_group_num=2,
        num_attention_heads=4, intermediate_size=32, max_position_embeddings=20,
    )  # fmt: skip
    model = AlbertModel(config).eval()
    inputs = batch()
    expected = model(**inputs, output_hidden_states=True).hidden_states
    with Tap(model, Wanted(hidden=frozenset(range(9)), logits=False)) as tap:
        trace = tap(inputs)
    assert trace.depth == 8 and len(expected) == 9
    assert all(torch.equal(trace.hidden_at(layer), expected[layer]) for layer in range(9))


def test_runs_beside_the_tap_are_not_kept() -> None:
    """Prevents an evaluation between two steps, or a layer run again by checkpointing, from shifting the layers."""
    model = tiny("albert")
    with Tap(model, Wanted(hidden=frozenset({1}))) as tap:
        model(**batch(3))
        assert not tap._hidden
        first = tap(batch())
        model(**batch(3))
        assert not tap._hidden
        assert torch.equal(tap(batch()).hidden_at(1), first.hidden_at(1))


def test_a_deberta_with_a_convolution_gives_its_output_as_the_first_state() -> None:
    """Prevents the first hidden state of DeBERTa v2 xlarge missing the convolution beside layer 1."""
    config = DebertaV2Config(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32,
        max_position_embeddings=20, conv_kernel_size=3,
    )  # fmt: skip
    model = DebertaV2Model(config).eval()
    inputs = batch()
    expected = model(**inputs, output_hidden_states=True).hidden_states
    with Tap(model, Wanted(hidden=frozenset({1, 2}), logits=False)) as tap:
        trace = tap(inputs)
    assert all(torch.equal(trace.hidden_at(layer), expected[layer]) for layer in (1, 2))


def test_an_electra_without_a_projection_starts_at_its_embeddings() -> None:
    """Prevents a lookup of the projection that ELECTRA drops when its tables are as wide as its layers."""
    config = ElectraConfig(
        vocab_size=50, embedding_size=16, hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=32, max_position_embeddings=20,
    )  # fmt: skip
    model = ElectraModel(config).eval()
    assert anatomy_of(model).projection(model) is None
    inputs = batch()
    with Tap(model, Wanted(hidden=frozenset({0}), logits=False)) as tap:
        assert torch.equal(tap(inputs).hidden_at(0), model(**inputs, output_hidden_states=True).hidden_states[0])
