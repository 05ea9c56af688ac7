"""Whole layers out of every family: equal to the original that steps over them, and a stock model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import T5EncoderModel, T5ForSequenceClassification

from compress.anatomy.base import prunable_families, structure_of
from compress.core.errors import InputError
from compress.prune.kept_layers import LayerPlan, keep_layers
from compress.prune.proof import prove, random_batches
from tests.models import OWN, prunable, tiny, tiny_gpt2, tiny_t5


@pytest.mark.parametrize("family", prunable_families())
def test_a_shallower_model_is_the_original_that_steps_over_layers(family: str, tmp_path: Path) -> None:
    """Prevents layers in another order, and a folder that opens with other layers."""
    model, kept = prunable(family), (2, 4)
    if family == "albert":
        kept = (1, 3)
    smaller = keep_layers(model, kept)
    facts = prove(model, smaller, LayerPlan(kept))
    assert facts["difference"]["float64"] == 0
    smaller.save_pretrained(tmp_path)
    opened = type(model).from_pretrained(tmp_path).eval()
    for inputs in random_batches(model):
        assert torch.allclose(opened(**inputs).logits, smaller(**inputs).logits, atol=1e-6)


def test_gpt2_still_generates_with_its_cache() -> None:
    """Prevents layers that write their keys under the numbers of layers that are gone."""
    smaller = keep_layers(tiny_gpt2(), (2, 4))
    ids = torch.tensor([[5, 6, 7, 8]])
    whole = smaller(ids, use_cache=False).logits
    start = smaller(ids[:, :3], use_cache=True)
    step = smaller(ids[:, 3:], past_key_values=start.past_key_values, use_cache=True)
    assert torch.allclose(step.logits[:, -1], whole[:, -1], atol=1e-6)
    assert len(start.past_key_values.layers) == 2


@pytest.mark.parametrize(
    ("head", "kept"), [(None, (2, 5)), (None, (1, 2, 3)), (T5EncoderModel, (2,)), (T5ForSequenceClassification, (2, 4))]
)
def test_both_sides_of_t5_keep_their_biases(head: Any, kept: tuple[int, ...]) -> None:
    """Prevents a first block without the table of relative positions, which all others of its side read."""
    model = tiny_t5(head=head) if head else tiny_t5()
    smaller = keep_layers(model, kept)
    prove(model, smaller, LayerPlan(kept))
    first = smaller.base_model.get_submodule("encoder.block.0.layer.0.SelfAttention")
    assert first.has_relative_attention_bias
    with torch.device("meta"):
        stock = type(model)(smaller.config)
    assert {n: v.shape for n, v in stock.named_parameters()} == {n: v.shape for n, v in smaller.named_parameters()}


def test_groups_of_albert_go_with_their_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents an ALBERT that runs other groups than those that were kept."""
    monkeypatch.setitem(OWN, "albert", {"embedding_size": 8, "num_hidden_groups": 2, "inner_group_num": 2})
    model = tiny("albert")  # four runs of groups 0, 0, 1, 1, each of two layers
    for kept in ((1, 2, 5, 6), (5, 6, 7, 8), (3, 4)):
        prove(model, keep_layers(model, kept), LayerPlan(kept))
    assert keep_layers(model, (5, 6)).config.num_hidden_groups == 1
    for kept in ((1, 2, 5, 6, 7, 8), (1, 4)):
        with pytest.raises(InputError, match="cannot run the layers"):
            keep_layers(model, kept)


@pytest.mark.parametrize(
    ("groups", "runs", "inner"), [(1, 6, 1), (2, 6, 1), (3, 8, 1), (2, 7, 1), (6, 6, 1), (2, 4, 2)]
)
def test_the_best_layers_of_albert_can_run_alone(
    groups: int, runs: int, inner: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a ratio, or a target with `depth`, that asks for a choice of runs which no stock ALBERT can make."""
    monkeypatch.setitem(OWN, "albert", {"num_hidden_groups": groups, "inner_group_num": inner})
    model = tiny("albert", layers=runs)
    structure, ranked = structure_of(model), list(range(runs * inner, 0, -1))  # the last are best
    for count in range(inner, runs * inner, inner):
        kept = structure.best_layers(model, ranked, count)
        assert len(kept) == count
        left = keep_layers(model, kept)
        assert left.config.num_hidden_groups == min(groups, count // inner)  # as many different ones as can be
    assert structure.best_layers(model, ranked, inner)[0] > (runs * inner) / 2 or groups == 1


@pytest.mark.parametrize(
    "kept", [(), (0, 1), (1, 5), (2, 1), (1, 1)], ids=["none", "zero", "too-many", "order", "twice"]
)
def test_wrong_layers_are_refused(kept: tuple[int, ...]) -> None:
    """Prevents Python's negative numbers, repeated layers and models without any."""
    with pytest.raises(InputError, match="expected some of 1 to 4"):
        keep_layers(tiny("bert"), kept)


def test_a_side_of_t5_without_layers_is_refused() -> None:
    """Prevents a decoder of nothing."""
    with pytest.raises(InputError, match=r"all 3 layers of the decoder would go .numbers 3 to 5"):
        keep_layers(tiny_t5(), (1, 2))


def test_layers_that_cannot_be_first_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents DeBERTa's convolution beside another layer, and GPT-2's scores divided by another number."""
    monkeypatch.setitem(OWN, "deberta-v2", {**OWN["deberta-v2"], "conv_kernel_size": 3})
    model = tiny("deberta-v2")
    prove(model, keep_layers(model, (1, 3)), LayerPlan((1, 3)))
    with pytest.raises(InputError, match="layer 1 must stay"):
        keep_layers(model, (2, 3))
    scaled = tiny_gpt2(scale_attn_by_inverse_layer_idx=True)
    prove(scaled, keep_layers(scaled, (1, 2)), LayerPlan((1, 2)))
    with pytest.raises(InputError, match="only its last layers can go"):
        keep_layers(scaled, (1, 3))
    ranked = [4, 3, 2, 1]
    assert structure_of(model).best_layers(model, ranked, 2) == [1, 4]  # who gives a ratio need not know of it
    assert structure_of(scaled).best_layers(scaled, ranked, 2) == [1, 2]
    assert structure_of(tiny_gpt2()).best_layers(tiny_gpt2(), ranked, 2) == [3, 4]
