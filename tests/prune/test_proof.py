"""The proof must fail for whatever is not the masked original: each of these models is wrong in one way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from compress.core.errors import JobError
from compress.importance.masks import Masks, ones
from compress.prune.kept_layers import LayerPlan, keep_layers
from compress.prune.masked_cut import cut_masked
from compress.prune.proof import prove, random_batches
from tests.models import batch, prunable, tiny, tiny_gpt2

ATTENTION = "bert.encoder.layer.0.attention"


def masks_of(model: PreTrainedModel) -> Masks:
    """Head 1 of the first layer, and four neurons of it."""
    masks = ones(model)
    masks.heads[f"{ATTENTION}.output.dense"][1] = 0
    masks.neurons["bert.encoder.layer.0.output.dense"][4:8] = 0
    return masks


def other_heads(model: PreTrainedModel) -> None:
    """As many heads, and not those."""
    query = model.get_submodule(f"{ATTENTION}.self.query")
    query.get_parameter("weight").data = query.get_parameter("weight").data.flip(0)


def wrong_count(model: PreTrainedModel) -> None:
    """Head dimensions viewed as heads of another number, which runs."""
    model.get_submodule(f"{ATTENTION}.self").attention_head_size = 3  # type: ignore[assignment]


def bias_unsliced(model: PreTrainedModel) -> None:
    """A bias of the wrong neurons."""
    bias = model.get_submodule("bert.encoder.layer.0.intermediate.dense").get_parameter("bias")
    bias.data = bias.data.roll(1)


def one_weight(model: PreTrainedModel) -> None:
    """A thousandth on one weight."""
    model.get_submodule("bert.encoder.layer.1.output.dense").get_parameter("weight").data[0, 0] += 1e-3


def not_a_number(model: PreTrainedModel) -> None:
    """NaN compares false with everything."""
    model.get_submodule("bert.encoder.layer.1.output.dense").get_parameter("weight").data[0, 0] = float("nan")


@pytest.mark.parametrize("spoil", [other_heads, wrong_count, bias_unsliced, one_weight, not_a_number])
def test_a_model_that_differs_is_refused(spoil: Callable[[PreTrainedModel], None]) -> None:
    """Prevents a proof that passes what it should find."""
    model = tiny("bert", layers=2)
    masks = masks_of(model)
    smaller = cut_masked(model, masks)
    prove(model, smaller, masks)
    spoil(smaller)
    with pytest.raises(JobError, match="is not the masked original: its states .* float64"):
        prove(model, smaller, masks)


def test_masks_that_were_not_folded_are_refused() -> None:
    """Prevents a cut that keeps parts at their full strength although the masks say half."""
    model = tiny("bert", layers=2)
    masks = masks_of(model)
    smaller = cut_masked(model, masks)
    masks.heads[f"{ATTENTION}.output.dense"][0] = 0.5
    with pytest.raises(JobError, match="is not the masked original"):
        prove(model, smaller, masks)


def test_a_head_that_reads_something_else_is_refused() -> None:
    """Prevents a proof that looks at states alone."""
    model = tiny("bert", layers=2)
    masks = masks_of(model)
    smaller = cut_masked(model, masks)
    smaller.get_submodule("classifier").get_parameter("weight").data += 1
    with pytest.raises(JobError, match="its logits"):
        prove(model, smaller, masks)


def test_nothing_pruned_is_refused() -> None:
    """Prevents a step that reports success and changed nothing."""
    model = tiny("bert", layers=2)
    with pytest.raises(JobError, match="nothing was pruned"):
        prove(model, cut_masked(model, ones(model)), ones(model))


def test_another_number_of_parameters_is_refused() -> None:
    """Prevents a cut that removed less than was said."""
    model = tiny("bert", layers=2)
    masks = masks_of(model)
    smaller = cut_masked(model, masks)
    smaller.register_parameter("extra", nn.Parameter(torch.zeros(3)))
    with pytest.raises(JobError, match="3 parameters|were planned"):
        prove(model, smaller, masks)


def test_a_lost_tie_is_refused() -> None:
    """Prevents a masked-token head that trains away from its embeddings."""
    model = tiny("bert", head="mask", layers=2)
    masks = masks_of(model)
    smaller = cut_masked(model, masks)
    bias = smaller.get_parameter("cls.predictions.bias")
    smaller.get_submodule("cls.predictions").bias = nn.Parameter(bias.detach().clone())
    plan = _Counted(masks, more=bias.numel())
    with pytest.raises(JobError, match="were tied and no longer are"):
        prove(model, smaller, plan)


class _Counted(LayerPlan):
    """A plan that expects more parameters, so that only the tie is wrong."""

    def __init__(self, masks: Masks, more: int) -> None:
        object.__setattr__(self, "masks", masks)
        object.__setattr__(self, "more", more)

    def parameters(self, original: PreTrainedModel) -> int:
        """What the masks leave, and `more`."""
        smaller = cut_masked(original, self.masks)  # type: ignore[attr-defined]
        return sum(value.numel() for value in smaller.parameters()) + self.more  # type: ignore[attr-defined, no-any-return]


def test_given_batches_are_looked_at() -> None:
    """Prevents a proof on random tokens alone when real texts were given."""
    model = tiny("bert", layers=2)
    masks = masks_of(model)
    smaller = cut_masked(model, masks)
    seen: list[tuple[int, ...]] = []
    hook = smaller.register_forward_pre_hook(
        lambda module, args, named: seen.append(named["input_ids"].shape), with_kwargs=True
    )
    prove(model, smaller, masks, [{**batch(tokens=9), "labels": torch.tensor([0, 1])}])
    hook.remove()
    assert (2, 9) in seen


@pytest.mark.parametrize("family", ["bert", "roberta", "t5", "gpt2"])
def test_random_batches_have_three_shapes_and_padding(family: str) -> None:
    """Prevents a proof without padding, or with more tokens than positions."""
    model = prunable(family)
    made = list(random_batches(model))
    assert len({tuple(one["input_ids"].shape) for one in made}) == 3
    assert any((one["attention_mask"] == 0).any() for one in made)
    for one in made:
        model(**one)


def test_runs_of_a_shared_layer_count_as_pruned() -> None:
    """Prevents a refusal of ALBERT's depth, which costs time and no parameters."""
    model = tiny("albert")
    facts = prove(model, keep_layers(model, (1, 2)), LayerPlan((1, 2)))
    assert facts["parameters"]["after"] == facts["parameters"]["before"]


def test_models_without_a_padding_token_are_proven_and_stay_so() -> None:
    """Prevents a proof that writes a padding token into GPT-2's config."""
    model = tiny_gpt2(layers=2)
    assert model.config.pad_token_id is None
    smaller = keep_layers(model, (1,))
    prove(model, smaller, LayerPlan((1,)))
    assert model.config.pad_token_id is None and smaller.config.pad_token_id is None
