"""The pruner `weights`: zeros where they were planned, nothing else touched, and zeros that stay through training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from compress.core.errors import InputError, JobError
from compress.importance.base import Evidence, Importance, Scores
from compress.importance.matrices import matrix_names
from compress.prune import weights as module
from compress.prune.base import Job
from compress.prune.weights import Weights, groups, lowest, matrices, rows
from compress.train.checkpoint import weights_of
from compress.train.folder import load_model
from compress.train.trainer import Loop
from compress.train.zeros import NAME, Zeros
from tests.models import tiny
from tests.shapes.carved import stock
from tests.students.tools import saved, tokenizer_for
from tests.train import tiny as training


class Magnitude(Importance):
    """|w|; `broken` puts a value that is no number into the first matrix, `silent` scores nothing."""

    parts: ClassVar[frozenset[str]] = frozenset({"weights"})
    broken: bool = False
    silent: bool = False

    def score(self, model: PreTrainedModel, wanted: frozenset[str], evidence: Evidence) -> Scores:
        assert wanted == {"weights"}
        if self.silent:
            return Scores()
        found = {name: value.detach().abs() for name, value in model.named_parameters()}
        if self.broken:
            found[matrices(model)[0]][0, 0] = math.nan
        return Scores(weights=found)


def job(model: PreTrainedModel, **options: Any) -> Job:
    return Job(model, tokenizer_for(model), Magnitude(**options), Evidence())


FAMILIES = ("bert", "roberta", "distilbert", "albert", "electra", "deberta-v2", "mpnet")


@pytest.mark.parametrize("options", [{"ratio": 0.5}, {"pattern": "2:4"}, {"ratio": 0.3, "among": "row"}])
@pytest.mark.parametrize("family", FAMILIES)
def test_zeros_are_in_the_encoder_alone(family: str, options: dict[str, Any]) -> None:
    """A zero in an embedding, a norm or a head is damage that nobody planned."""
    model = tiny(family, layers=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    change = Weights(**options).cut(job(model))
    names = set(matrices(model))
    assert len(names) == (6 if family == "albert" else 12)
    for name, value in change.model.state_dict().items():
        kept = value != 0 if name in names else torch.ones_like(value, dtype=torch.bool)
        assert torch.equal(value[kept], before[name][kept])
        assert name not in names or 0 < int((~kept).sum()) < value.numel()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not hasattr(model.config, NAME)


def test_the_ratio_is_exact_whatever_is_compared() -> None:
    """A ratio that is nearly met makes two runs with one option differ in size."""
    model = tiny("bert", layers=2)
    total = sum(model.get_parameter(name).numel() for name in matrices(model))
    for among in ("row", "matrix", "model"):
        change = Weights(ratio=0.25, among=among).cut(job(model))
        assert change.facts["zeros"] == round(0.25 * total) and change.facts["weights"] == total
        shares = [
            float((change.model.get_parameter(name) == 0).float().mean()) for name in matrices(model)
        ]  # fmt: skip
        assert (len(set(shares)) == 1) == (among != "model")


def test_smallest_go_first_and_ties_from_the_front() -> None:
    """By hand; at a tie the count must hold and the choice must not depend on the sort."""
    scores = torch.tensor([[3.0, 1.0, 1.0, 1.0], [0.0, 5.0, 1.0, 2.0]])
    assert lowest(scores, 3).tolist() == [[False, True, True, False], [True, False, False, False]]
    assert lowest(scores, 0).sum() == 0 and lowest(scores, 8).all()
    assert rows(scores, 0.5).tolist() == [[False, True, True, False], [True, False, True, False]]
    assert groups(scores, "1:4", "w").tolist() == [[False, True, True, True], [True, False, True, True]]
    assert groups(scores[:, :4].repeat(1, 2), "2:4", "w").sum(1).tolist() == [4, 4]


@pytest.mark.parametrize(("pattern", "kept", "size"), [("2:4", 2, 4), ("4:8", 4, 8), ("1:4", 1, 4), ("2:8", 2, 8)])
def test_every_group_of_inputs_keeps_n(pattern: Any, kept: int, size: int) -> None:
    """Groups along the outputs, or a group short of one, are not what sparse hardware reads."""
    change = Weights(pattern=pattern).cut(job(tiny("bert", layers=2)))
    for name in matrices(change.model):
        weight = change.model.get_parameter(name)
        assert (weight.reshape(-1, size) != 0).sum(1).unique().tolist() == [kept]


def test_conv1d_is_grouped_along_its_inputs() -> None:
    """GPT-2 stores its matrices the other way round; grouped as stored, the N of M would lie along the outputs."""

    sparse = Weights(pattern="2:4").cut(job(stock("gpt2"))).model
    assert len(matrices(sparse)) == 8
    for name in matrices(sparse):
        assert isinstance(sparse.get_submodule(name.removesuffix(".weight")), Conv1D)
        stored = sparse.get_parameter(name)
        assert ((stored.T.reshape(-1, 4) != 0).sum(1) == 2).all()
        assert not ((stored.reshape(-1, 4) != 0).sum(1) == 2).all()


def test_every_matrix_that_is_scored_is_pruned() -> None:
    """DeBERTa's position projections stayed dense although the criteria score them, and the ratio was of fewer."""
    model = model_of_deberta()
    assert matrices(model) == [f"{name}.weight" for name in matrix_names(model)]
    sparse = Weights(ratio=0.5).cut(job(model)).model
    (name,) = (name for name in matrices(sparse) if name.endswith("pos_key_proj.weight"))
    assert float((sparse.get_parameter(name) == 0).float().mean()) == 0.5


def model_of_deberta() -> PreTrainedModel:
    """With position projections of their own."""
    config = tiny("deberta-v2", layers=1).config
    config.share_att_key = False
    made: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    return made.eval()


@pytest.mark.parametrize("options", [{"pattern": "2:4"}, {"ratio": 0.4}, {"ratio": 0.5, "among": "row"}])
def test_zeros_that_are_there_are_no_pruning(options: dict[str, Any]) -> None:
    """The same pattern once more passed for a step that prunes, and gave back the file that it got."""
    sparse = Weights(pattern="2:4").cut(job(tiny("bert", layers=1))).model
    with pytest.raises(InputError, match="is zero already, so nothing would be pruned"):
        Weights(**options).cut(job(sparse))
    assert Weights(ratio=0.6).cut(job(sparse)).facts["density"] < 0.5


@pytest.mark.parametrize("wide", [tiny("bert", layers=1, width=20)], ids=["width 20"])
def test_a_matrix_too_narrow_for_the_pattern_is_refused(wide: PreTrainedModel) -> None:
    """A last group of four in eight would silently keep another share."""
    with pytest.raises(InputError, match="20 inputs, no multiple of 8; use a ratio"):
        Weights(pattern="4:8").cut(job(wide))


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        ({"broken": True}, {"ratio": 0.5}, "no finite numbers"),
        ({"silent": True}, {"ratio": 0.5}, "gives no scores of"),
        ({}, {"ratio": 1e-9}, "so small that no weight"),
    ],
    ids=["nan", "no scores", "nothing"],
)
def test_scores_that_say_nothing_are_refused(given: dict[str, Any], options: dict[str, Any], said: str) -> None:
    """NaN sorts anywhere; a ratio that rounds to nothing must not pass for pruning."""
    with pytest.raises(InputError, match=said):
        Weights(**options).cut(job(tiny("bert", layers=1), **given))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "came neither"), ({"ratio": 0.5, "pattern": "2:4"}, "came both"), ({"ratio": 1.0}, "less than 1"),
        ({"pattern": "3:4"}, "2:4"), ({"pattern": "2:4", "among": "row"}, "leave it out"),
    ],
)  # fmt: skip
def test_senseless_options_are_refused(options: dict[str, Any], said: str) -> None:
    """An option that is out of range must be named before anything is loaded."""
    with pytest.raises(ValidationError, match=said):
        Weights(**options)


def test_the_proof_sees_a_changed_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proof that cannot fail proves nothing."""
    monkeypatch.setattr(module, "mark", lambda model, names, how: model.classifier.bias.data.add_(1.0))
    with pytest.raises(JobError, match=r"classifier\.bias is not what was planned"):
        Weights(ratio=0.5).cut(job(tiny("bert", layers=1)))


def test_facts_say_what_is_gained() -> None:
    """Zeros in a dense file sold as a smaller model: bytes must say what is and what could be."""
    model = tiny("bert", layers=2)
    facts = Weights(ratio=0.75).cut(job(model)).facts
    total, everything = facts["weights"], sum(4 * value.numel() for value in model.parameters())
    assert facts["density"] == 0.25 and facts["bytes_dense"] == everything
    assert facts["bytes_as_bitmap"] == everything - 4 * total + total + total // 8
    assert "no engine faster" in facts["gain"]


@pytest.mark.parametrize("head", ["classify", "mask"])
def test_saved_and_loaded_zeros_and_mark_are_there(head: str, tmp_path: Path) -> None:
    """A mark that is lost in saving lets the next training fill the zeros; it must hold under another head too."""
    model = Weights(pattern="2:4").cut(job(tiny("bert", layers=1, head=head))).model
    saved(model, head, tmp_path)
    for again in (AutoModel.from_pretrained(tmp_path), AutoModelForMaskedLM.from_pretrained(tmp_path)):
        assert len(Zeros(again)) == 6
    loaded = load_model(str(tmp_path), "AutoModelForSequenceClassification", num_labels=3, fresh_head=True)
    assert len(Zeros(loaded.model)) == 6


def test_no_mark_no_zeros_held() -> None:
    """A model that has zeros by chance (new biases, a dead row) must train freely."""
    model = tiny("bert", layers=1)
    model.get_parameter(matrices(model)[0]).data.zero_()
    assert len(Zeros(model)) == 0
    sparse = Weights(ratio=0.5).cut(job(tiny("bert", layers=1))).model
    assert len(Zeros(sparse)) == 6
    assert len(Zeros(sparse.requires_grad_(False))) == 0  # a frozen teacher


DENSE = training.objective


def sparse_objective(pattern: Any) -> training.Objective:
    """The tiny training's model with zeros."""
    made = DENSE()
    assert isinstance(made.student, PreTrainedModel)
    made.student = Weights(pattern=pattern).cut(job(made.student)).model
    return made


def zeros_of(module: nn.Module) -> dict[str, Tensor]:
    assert isinstance(module, training.Objective) and isinstance(module.student, PreTrainedModel)
    return {name: module.student.get_parameter(name) == 0 for name in matrices(module.student)}


@pytest.mark.parametrize("more", [{}, {"ema": 0.9}], ids=["plain", "average"])
def test_training_keeps_the_zeros(more: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AdamW fills every zero in its first update; the N:M pattern would be gone with it."""
    monkeypatch.setattr(training, "objective", lambda: sparse_objective("2:4"))
    before = sparse_objective("2:4")
    _, after = training.train(tmp_path, training.OPTIONS.model_copy(update={"epochs": 2, **more}))
    held, was = zeros_of(after), zeros_of(before)
    assert all(torch.equal(held[name], was[name]) for name in was)
    assert isinstance(after.student, PreTrainedModel) and isinstance(before.student, PreTrainedModel)
    moved = after.student.get_parameter(matrices(after.student)[0])
    assert not torch.equal(moved, before.student.get_parameter(matrices(after.student)[0]))


def test_training_goes_on_with_the_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run that forgot its zeros would end in other weights than an unbroken one."""
    monkeypatch.setattr(training, "objective", lambda: sparse_objective("4:8"))
    options = training.OPTIONS.model_copy(update={"epochs": 2})
    _, whole = training.train(tmp_path / "whole", options)

    class Broken(Exception):
        pass

    look = Loop._look

    def stop(self: Loop, step: int) -> None:
        look(self, step)
        if step == 7:
            raise Broken

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_look", stop)
        with pytest.raises(Broken):
            training.train(tmp_path / "broken", options)
    result, again = training.train(tmp_path / "broken", options)
    assert result.resumed_from == 6
    one, two = weights_of(whole), weights_of(again)
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert all(bool((gone.reshape(-1, 8).sum(1) == 4).all()) for gone in zeros_of(again).values())
