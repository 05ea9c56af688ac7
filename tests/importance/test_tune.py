"""Mask tuning: what is kept makes up for what is gone."""

from __future__ import annotations

import pytest
import torch

from compress.core.errors import InputError, JobError
from compress.importance.base import Evidence
from compress.importance.masks import Masks, ones
from compress.importance.stages import Stages
from compress.importance.tune import WILD, tune
from tests.importance.fitting import FAMILIES, NORM, distance, halved, read_by, texts
from tests.models import prunable, tiny


@pytest.mark.parametrize("family", ["bert", "distilbert", "electra", "albert", "deberta-v2", "mpnet"])
def test_tuned_masks_are_nearer_to_the_whole_model_on_other_texts(family: str) -> None:
    """Prevents scales that fit nothing but the sample, or the wrong block: texts that were not used get nearer too."""
    model = tiny(family, layers=2, width=32).base_model  # of which every token's state is read
    masks = halved(model)
    tuned, facts = tune(model, masks, texts(model, 1))
    other = texts(model, 2)
    assert distance(model, tuned, other) < 0.98 * distance(model, masks, other)
    assert facts["texts"] == 96 and len(facts["blocks"]) == len(masks.every())
    assert all(one["after"] <= one["before"] and one["tuned"] for one in facts["blocks"].values())
    for new, old in zip(tuned.every(), masks.every(), strict=True):
        assert torch.equal(new == 0, old == 0) and not torch.equal(new, old)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_lost_nothing_keeps_its_ones(family: str) -> None:
    """Prevents a target that the whole model itself misses: a norm before the sum, a bias or a token too many."""
    model = prunable(family)
    given = texts(model, 1, rows=6)
    tuned, facts = tune(model, ones(model), given)
    assert all(torch.allclose(mask, torch.ones(()), atol=1e-3) for mask in tuned.every())
    assert all(one["before"] < 1e-3 for one in facts["blocks"].values()) and len(facts["blocks"]) == len(tuned.every())


def test_the_solution_is_the_least_squares_one() -> None:
    """Prevents wrong normal equations, and huge features that the norm makes small but that decide: the first FFN's
    numbers are those of a plain solver on all tokens at once, in the units of the norm behind it."""
    model = tiny("bert", layers=2)
    norm = model.get_submodule(NORM)
    with torch.no_grad():
        norm.get_parameter("weight").copy_(torch.linspace(0.1, 3, 16))
    given = texts(model, 3, rows=6)
    name = "bert.encoder.layer.0.output.dense"
    mask = torch.ones(32)
    mask[::3] = 0
    tuned, facts = tune(model, Masks({}, {name: mask}), given, damping=1e-9)
    read, weight = read_by(model, name, given), model.get_submodule(name).get_parameter("weight").detach().double()
    gain = norm.get_parameter("weight").detach().double() / read_by(model, NORM, given).std(1, keepdim=True)
    kept = mask.nonzero()[:, 0]
    each = read[:, None, :] * weight * gain[..., None]  # [n, d, f]: what every neuron adds, as the norm sees it
    solved = torch.linalg.lstsq(each[..., kept].flatten(0, 1), each.sum(-1).flatten()[:, None]).solution[:, 0]
    assert torch.allclose(tuned.neurons[name][kept].double(), solved, atol=1e-3)
    left = (each[..., kept] @ solved - each.sum(-1)).norm() / each.sum(-1).norm()
    assert facts["blocks"][name]["after"] == pytest.approx(float(left), rel=1e-2)


@pytest.mark.parametrize("head", ["classify", "tag", "answer", "body"])
@pytest.mark.parametrize("family", ["bert", "distilbert", "deberta-v2", "mpnet"])
def test_the_tokens_that_the_head_reads_are_found(family: str, head: str) -> None:
    """Prevents a last layer tuned for tokens that nobody asks for, and one tuned for too few of them: a classifier
    reads the first token of a text, every other head and a bare body all of them."""
    model = tiny(family, layers=2, head="tag" if head == "body" else head, labels=2)
    if head == "body":
        model = model.base_model
    given = texts(model, 1, rows=6)
    stages = Stages(model, given.batches)
    stages.run(0, keep=True)
    found = stages.read_by_head()
    assert (found is None) == (head != "classify")  # None: all of them
    for read in found or ():
        assert read.shape == (6, 9) and read[:, 0].all() and not read[:, 1:].any()
    stages.run(1)  # and the layers can still be run one after the other
    assert not any("forward" in vars(part) for part in model.modules())
    assert all(one.grad is None for one in model.parameters())


@pytest.mark.parametrize("way", ["tuple", "inference", "zero", "left"])
def test_heads_that_say_little_are_heard(way: str) -> None:
    """Prevents errors of autograd under inference mode or plain tuples, and texts of which no token counts: a head of
    zeros, and padding in front, where the head reads."""
    model = tiny("bert", layers=2)
    given = texts(model, 1, rows=6)
    if way == "tuple":
        model.config.return_dict = False
    if way == "zero":
        torch.nn.init.zeros_(model.get_parameter("classifier.weight"))
    if way == "left":
        given = Evidence([{name: held.flip(1) for name, held in one.items()} for one in given.batches])
    with torch.inference_mode(way == "inference"):
        stages = Stages(model, given.batches)
        stages.run(0, keep=True)
        found = stages.read_by_head()
        tuned, facts = tune(model, halved(model), given)
    assert way != "zero" or found is None
    for read, batch in zip(found or (), given.batches, strict=found is not None):
        assert bool((read & batch["attention_mask"].bool()).any(1).all())
    assert all(one["before"] > 0 for one in facts["blocks"].values()) and tuned != halved(model)


def test_layers_that_run_at_several_depths_count_every_token() -> None:
    """Prevents ALBERT's one layer tuned for the first token alone, whose states every later run reads."""
    model = tiny("albert", layers=2)
    assert Stages(model, texts(model, 1).batches).read_by_head() is None


@pytest.mark.parametrize("layers", [1, 2])
def test_a_classifier_is_tuned_for_what_it_reads(layers: int) -> None:
    """Prevents numbers of the last layer that serve tokens nobody asks for: on other texts the first token's state of a
    classifier is nearer than when all tokens count, as they do for a tagger with the same body."""
    model, tagger = (tiny("bert", layers=layers, width=32, head=head) for head in ("classify", "tag"))
    tagger.base_model.load_state_dict(model.base_model.state_dict(), strict=False)
    masks, given, other = halved(model), texts(model, 1), texts(model, 2)
    read, every = (tune(one, masks, given)[0] for one in (model, tagger))
    assert distance(model, read, other, first=True) < 0.98 * distance(model, every, other, first=True)


def test_a_wild_solution_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents scales of thousands where parts cancel each other: two equal neurons with a third that needs them."""
    model = tiny("bert", layers=1)
    name = "bert.encoder.layer.0.output.dense"
    with torch.no_grad():
        model.get_submodule(name).get_parameter("weight")[:, 1] = model.get_submodule(name).weight[:, 0] * 100
        inner = model.get_submodule("bert.encoder.layer.0.intermediate.dense")
        inner.weight[1] = inner.weight[0]
        inner.bias[1] = inner.bias[0]
    mask = torch.zeros(32)
    mask[0] = 1
    tuned, facts = tune(model, Masks({}, {name: mask}), texts(model, 1, rows=4))
    assert WILD == 10 and torch.equal(tuned.neurons[name], mask)
    assert not facts["blocks"][name]["tuned"] and facts["blocks"][name]["after"] == facts["blocks"][name]["before"]


def test_the_model_is_left_as_it_was() -> None:
    """Prevents hooks, replaced forwards, gradients or eval mode that stay behind, and masks changed in place."""
    model = tiny("bert", layers=2).train()
    masks = halved(model)
    before = Masks.from_facts(masks.facts())
    tune(model, masks, texts(model, 1, rows=4))
    assert masks == before and model.training
    assert not any("forward" in vars(part) for part in model.modules())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_tuning_needs_texts_and_sound_states() -> None:
    """Prevents masks tuned to nothing, or to NaN."""
    model = tiny("bert", layers=1)
    with pytest.raises(InputError, match="tuning looks at training texts"):
        tune(model, halved(model), Evidence())
    model.get_submodule("bert.encoder.layer.0.intermediate.dense").get_parameter("bias").data[0] = float("nan")
    with pytest.raises(JobError, match="NaN or infinite"):
        tune(model, halved(model), texts(model, 1, rows=4))
