"""Refitting: whole output matrices make up for what is gone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from compress.core.errors import InputError, JobError
from compress.importance.base import Evidence
from compress.importance.masks import Masks, masked, ones
from compress.importance.refit import refit
from compress.importance.tune import tune
from compress.prune.masked_cut import cut_masked
from compress.prune.proof import prove
from tests.importance.fitting import FAMILIES, NORM, distance, halved, read_by, texts
from tests.models import prunable, tiny


@pytest.mark.parametrize("family", FAMILIES)
def test_refitted_outputs_are_nearer_than_tuned_masks_on_other_texts(family: str) -> None:
    """Prevents matrices that fit nothing but the sample, the wrong columns or the wrong block: texts that were not used
    are nearer to the whole model than with tuned masks, which are a special case."""
    model = (prunable(family) if family in ("gpt2", "t5") else tiny(family, layers=2, width=32)).base_model
    masks = halved(model)
    changed, facts = refit(model, masks, texts(model, 1))
    other = texts(model, 2)
    assert distance(model, masks, other, changed) < 0.9 * distance(model, tune(model, masks, texts(model, 1))[0], other)
    assert facts["texts"] == 96 and len(facts["blocks"]) == len(masks.every())
    assert all(one["after"] <= one["before"] and one["tuned"] for one in facts["blocks"].values())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_lost_nothing_keeps_its_matrices(family: str) -> None:
    """Prevents an error that the whole model itself has: a norm before the sum, a bias or a token too many."""
    model = prunable(family)
    changed, facts = refit(model, ones(model), texts(model, 1, rows=6))
    for name, held in model.named_parameters():
        assert torch.allclose(changed.get_parameter(name), held, atol=1e-3), name
    assert all(one["before"] < 1e-3 for one in facts["blocks"].values())


@pytest.mark.parametrize("family", FAMILIES)
def test_only_what_stays_is_changed_and_the_cut_is_proven(family: str) -> None:
    """Prevents columns of lost parts, other matrices or the model itself that change with it, and a cut that is not
    what was fitted: float64 shows no difference, in families that store matrices turned or have no bias too."""
    model = prunable(family)
    before = {name: held.detach().clone() for name, held in model.named_parameters()}
    masks = halved(model)
    changed, facts = refit(model, masks, texts(model, 1, rows=6))
    outputs = set(facts["blocks"])
    for name, held in model.named_parameters():
        assert torch.equal(held, before[name])
        owner = name.rpartition(".")[0]
        if owner not in outputs:
            assert torch.equal(changed.get_parameter(name), held), name
    for name, mask in (masks.heads | masks.neurons).items():
        old, new = (one.get_submodule(name).get_parameter("weight") for one in (model, changed))
        old, new = (old.T, new.T) if family == "gpt2" else (old, new)
        gone = (mask == 0).repeat_interleave(old.shape[1] // len(mask))
        assert torch.equal(old[:, gone], new[:, gone]) and not torch.equal(old[:, ~gone], new[:, ~gone])
    assert prove(changed, cut_masked(changed, masks), masks)["difference"]["float64"] < 1e-10


def test_the_solution_is_the_least_squares_one() -> None:
    """Prevents wrong normal equations: the first FFN's matrix and bias are those of a plain solver on all tokens, each
    by the deviation of its state, for parts whose mask is no 1 too."""
    model = tiny("bert", layers=2)
    given = texts(model, 3)
    name = "bert.encoder.layer.0.output.dense"
    mask = torch.ones(32)
    mask[::3], mask[1] = 0, 0.5
    changed, facts = refit(model, Masks({}, {name: mask}), given, damping=1e-9)
    read, state = read_by(model, name, given), read_by(model, NORM, given)
    part = model.get_submodule(name)
    weight = part.get_parameter("weight").detach().double()
    bias = part.get_parameter("bias").detach().double()
    kept, own = mask.nonzero()[:, 0], 1 / state.std(1, keepdim=True)
    features = torch.cat([read[:, kept] * mask[kept], torch.ones(len(read), 1)], 1) * own
    whole = read @ weight.T * own
    solved = torch.linalg.lstsq(features, whole + bias * own).solution
    new = changed.get_submodule(name)
    assert torch.allclose(new.get_parameter("weight")[:, kept].T.double(), solved[:-1], atol=1e-3)
    assert torch.allclose(new.get_parameter("bias").double(), solved[-1], atol=1e-3)
    left = (features @ solved - whole - bias * own).norm() / whole.norm()
    assert facts["blocks"][name]["after"] == pytest.approx(float(left), rel=1e-2)


def test_a_classifier_is_fitted_for_what_it_reads() -> None:
    """Prevents a last layer that serves tokens nobody asks for: the first token's state of a classifier is nearer than
    when all tokens count, as they do for a tagger with the same body."""
    model, tagger = (tiny("bert", layers=1, width=32, head=head) for head in ("classify", "tag"))
    tagger.base_model.load_state_dict(model.base_model.state_dict(), strict=False)
    masks, given, other = halved(model), texts(model, 1, rows=60), texts(model, 2, rows=60)
    read, every = (refit(one, masks, given)[0] for one in (model, tagger))
    near, far = (distance(model, masks, other, one, first=True) for one in (read, every))
    assert near < 0.98 * far


@pytest.mark.parametrize("by", [refit, tune])
def test_a_layer_that_runs_many_times_does_not_drift(by: Any) -> None:
    """Prevents ALBERT's one layer fitted to make up for its own earlier runs, which then have the new matrix, too: with
    every run the states went further away than with nothing fitted."""
    model = tiny("albert", layers=8, width=32).base_model
    masks, other = ones(model), texts(model, 2)
    for mask in masks.heads.values():
        mask[1] = 0
    for mask in masks.neurons.values():
        mask[::8] = 0
    fitted, _ = by(model, masks, texts(model, 1))
    near = distance(model, fitted, other) if isinstance(fitted, Masks) else distance(model, masks, other, fitted)
    assert near < distance(model, masks, other)


def test_one_text_does_no_harm() -> None:
    """Prevents a bias that takes up the whole error of the one token that a classifier reads: other texts are nearer
    than with nothing fitted."""
    model = tiny("bert", layers=2, width=32)
    masks, other = halved(model), texts(model, 2)
    one = Evidence([{name: held[:1] for name, held in texts(model, 1).batches[0].items()}])
    assert distance(model, masks, other, refit(model, masks, one)[0], first=True) < distance(
        model, masks, other, first=True
    )


def test_a_solution_that_is_no_number_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a matrix of NaN from equations that cannot be solved: the block stays as it was, and says so."""
    model = tiny("bert", layers=1)
    masks = halved(model)

    def failing(matrix: Tensor) -> tuple[Tensor, Tensor]:
        return matrix, torch.ones((), dtype=torch.int32)

    monkeypatch.setattr(torch.linalg, "cholesky_ex", failing)
    changed, facts = refit(model, masks, texts(model, 1, rows=4))
    assert all(torch.equal(changed.get_parameter(name), held) for name, held in model.named_parameters())
    assert all(not one["tuned"] and one["after"] == one["before"] for one in facts["blocks"].values())


def test_refitting_leaves_no_trace_and_needs_sound_texts() -> None:
    """Prevents hooks, replaced forwards or eval mode that stay behind, and matrices fitted to nothing or to NaN."""
    model = tiny("bert", layers=2).train()
    masks = halved(model)
    changed, _ = refit(model, masks, texts(model, 1, rows=4))
    for one in (model, changed):
        assert one.training and not any("forward" in vars(part) for part in one.modules())
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in one.modules())
    with torch.no_grad(), masked(changed, masks):
        assert changed(**texts(model, 2).batches[0]).logits.isfinite().all()
    with pytest.raises(InputError, match="tuning looks at training texts"):
        refit(model, masks, Evidence())
    model.get_submodule("bert.encoder.layer.0.intermediate.dense").get_parameter("bias").data[0] = float("nan")
    with pytest.raises(JobError, match="NaN or infinite"):
        refit(model, masks, texts(model, 1, rows=4))
