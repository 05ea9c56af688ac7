"""The first-batch table: its numbers by hand, its warnings, and that nothing of it stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compress.core.errors import InputError, JobError
from compress.distill.first_batch import FirstBatch, TermFacts, look_at, table, tell, warnings_of
from compress.distill.gradients import gradient_norm
from compress.distill.objective import Objective
from compress.distill.teacher import LiveTeacher
from compress.losses.hard_ce import HardCE
from compress.losses.hidden_mse import HiddenMSE
from compress.losses.logits_kl import LogitsKL
from compress.losses.logits_mse import LogitsMSE
from compress.train.checkpoint import weights_of
from tests.distill.test_balance import train
from tests.distill.test_objective import labelled
from tests.models import tiny
from tests.teachers.helpers import Ears
from tests.train.tiny import collate, features


def facts(name: str, gradient: float, of: float, weight: float = 1.0) -> TermFacts:
    """A term with this length of gradient among lengths that sum to `of`."""
    return TermFacts(name, 1.0, weight, 0.5, gradient, gradient / of)


def test_gradient_norm_by_hand() -> None:
    """Prevents a sum for a length, and a trace in `.grad`: 3 x + 4 y has a gradient of length 5."""
    one, two, unused = (torch.nn.Parameter(torch.ones(1)) for _ in range(3))
    assert gradient_norm((3 * one + 4 * two).sum(), [one, two, unused]).item() == pytest.approx(5.0)
    assert one.grad is None and unused.grad is None
    assert gradient_norm(torch.tensor(1.0), [one]).item() == 0.0


def test_shares_follow_weights() -> None:
    """Prevents shares of the unweighted terms: the same loss at weights 3 and 1 has 75 % and 25 % of both."""
    losses = [LogitsMSE(weight=3.0), LogitsMSE(weight=1.0)]
    objective = Objective(tiny("bert", layers=2), LiveTeacher(tiny("bert")), losses).eval()
    found = look_at(objective, labelled(), "fp32")
    assert [term.name for term in found.terms] == ["logits_mse", "logits_mse#2"]
    assert [term.share for term in found.terms] == pytest.approx([0.75, 0.25])
    assert [term.gradient_share for term in found.terms] == pytest.approx([0.75, 0.25])
    assert found.terms[0].value == found.terms[1].value and found.terms[0].gradient > 0
    assert (found.rows, found.tokens) == (2, 14) and found.seconds > 0
    assert set(found.measured()["logits_mse"]) == {"value", "weight", "share", "gradient", "gradient_share"}


def test_the_look_leaves_nothing_behind() -> None:
    """Prevents gradients that go into the first update, and draws that shift every dropout mask after it."""
    objective = Objective(tiny("bert", layers=2), LiveTeacher(tiny("bert")), [LogitsKL(), HiddenMSE()]).train()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    look_at(objective, labelled(), "fp32")
    assert torch.equal(torch.get_rng_state(), before)
    assert all(value.grad is None for value in objective.parameters())


def test_a_training_is_bit_equal_with_and_without_the_look(tmp_path: Path) -> None:
    """Prevents a table that changes what it describes."""

    def look(objective: Objective) -> None:
        objective.train()
        look_at(objective, collate(features(8), torch.Generator().manual_seed(0)), "fp32")

    _, plain = train(tmp_path / "plain", None, epochs=0.5)
    _, looked = train(tmp_path / "looked", None, before=look, epochs=0.5)
    one, two = weights_of(plain), weights_of(looked)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_warnings_name_the_weight_to_set() -> None:
    """Prevents a warning without a way out: 97 to 3 is halved by 3/97; 5e-4 gets a tenth by 1/9 of the rest."""
    (dominating,) = warnings_of([facts("hidden_mse", 97, 100, weight=2.0), facts("logits_kl", 3, 100)], False)
    assert "hidden_mse has 97.0% of the gradient" in dominating and "`weight: 0.062`" in dominating
    assert "`balance: gradient_norm`" in dominating
    terms = [facts("hidden_mse", 0.05, 100), facts("a", 50, 100), facts("b", 49.95, 100)]
    (dead,) = warnings_of(terms, False)
    assert "hidden_mse has 0.0005 of the gradient" in dead and "`weight: 220`" in dead
    assert warnings_of(terms, True) == []
    (nothing,) = warnings_of([facts("hidden_mse", 0.0, 100), facts("a", 50, 100), facts("b", 50, 100)], True)
    assert "has no gradient" in nothing and "leave it out" in nothing
    assert warnings_of([facts("a", 60, 100), facts("b", 40, 100)], False) == []
    assert warnings_of([facts("alone", 5, 5)], False) == []


def test_a_student_that_is_its_teacher_is_told(tmp_path: Path) -> None:
    """Prevents a term that trains nothing from passing in silence: every state is the teacher's already."""
    objective = Objective(tiny("bert"), LiveTeacher(tiny("bert")), [HiddenMSE(map="first"), HardCE()]).eval()
    ears = Ears()
    tell(look_at(objective, labelled(), "fp32"), False, ears)
    assert len(ears.warnings) == 1 and ears.warnings[0].startswith("hidden_mse has no gradient")


def test_the_table_reads_in_columns() -> None:
    """Prevents a table whose columns do not line up."""
    found = table(FirstBatch([facts("hidden_mse", 97, 100), facts("kl", 3, 100, weight=0.25)], 8, 80, 0.1).terms)
    assert found == [
        "term        value  weight  of the loss  of the gradient",
        "hidden_mse      1       1        50.0%            97.0%",
        "kl              1    0.25        50.0%             3.0%",
    ]


def test_a_teacher_that_gives_nan_is_refused() -> None:
    """Prevents an hour of training that stops with `the loss is nan` and blames the learning rate."""
    teachers = [tiny("bert"), tiny("bert")]
    objective = Objective(tiny("bert", layers=2), [LiveTeacher(each) for each in teachers], [LogitsKL(), HiddenMSE()])
    with torch.no_grad():
        teachers[1].classifier.bias.fill_(float("nan"))
    with pytest.raises(JobError, match=r"teacher 2 of 2 gives NaN or infinity on the first batch \(logits\)"):
        look_at(objective, labelled(), "fp32")


def test_a_loss_that_the_task_cannot_give_is_refused_by_name() -> None:
    """Prevents a refusal that leaves open which of five losses is meant."""
    objective = Objective(tiny("bert", layers=2), LiveTeacher(tiny("bert")), [HiddenMSE(), LogitsKL(), HardCE()])
    unlabelled = {name: value for name, value in labelled().items() if name != "labels"}
    with pytest.raises(InputError, match=r"^hard_ce: this loss needs labels"):
        look_at(objective, unlabelled, "fp32")
