"""Several teachers: how their outputs become one, how their states pull, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.distill.combine.base import Combine, rows
from compress.distill.combine.confidence import Confidence
from compress.distill.combine.fixed import Fixed
from compress.distill.objective import Objective
from compress.distill.teacher import LiveTeacher
from compress.distill.teachers import pulled
from compress.losses.attention_mse import AttentionMSE
from compress.losses.hard_ce import HardCE
from compress.losses.hidden_cosine import HiddenCosine
from compress.losses.hidden_mse import HiddenMSE
from compress.losses.logits_kl import LogitsKL
from compress.losses.logits_mse import LogitsMSE
from tests.distill.test_objective import labelled
from tests.losses.traces import outputs
from tests.models import batch, tiny


def of(*distributions: list[float], labels: list[int] | None = None, scale: float = 0.0) -> Trace:
    """A trace whose logits are the logarithms of these distributions, all raised by `scale`."""
    trace = outputs([torch.tensor(row).log().tolist() for row in distributions], labels)
    assert trace.logits is not None
    return replace(trace, logits=trace.logits + scale)


def together(combine: Combine, *traces: Trace, output: str = "classes") -> Tensor:
    """The combined logits."""
    found = combine.combined(traces, combine.shares(traces), output).logits
    assert found is not None
    return found


def test_probabilities_are_averaged_by_hand() -> None:
    """Prevents averaged logits under the name of probabilities: (.8 + .4) / 2 = .6, and 3 to 1 gives .7."""
    one, two = of([0.8, 0.2]), of([0.4, 0.6])
    assert together(Fixed(), one, two).softmax(-1)[0].tolist() == pytest.approx([0.6, 0.4])
    assert together(Fixed(weights=[3, 1]), one, two).softmax(-1)[0].tolist() == pytest.approx([0.7, 0.3])
    # The height of the logits is the mean of the teachers', 0 and 2, so that losses on logits see none of ours.
    raised = together(Fixed(), one, of([0.4, 0.6], scale=2.0))
    assert raised.logsumexp(-1).item() == pytest.approx(1.0)


def test_logits_are_averaged_by_hand() -> None:
    """Prevents the option being read and not used: the geometric mean lets a sure teacher strike a class out."""
    one, two = of([0.8, 0.2]), of([0.2, 0.8])
    assert together(Fixed(of="logits"), one, two).softmax(-1)[0].tolist() == pytest.approx([0.5, 0.5])
    sure = of([1 - 1e-9, 1e-9])
    assert together(Fixed(of="logits"), sure, of([0.5, 0.5])).softmax(-1)[0, 1] < 0.01
    assert together(Fixed(), sure, of([0.5, 0.5])).softmax(-1)[0, 1].item() == pytest.approx(0.25)


def test_outputs_that_are_no_distribution_are_averaged_as_they_are() -> None:
    """Prevents a softmax over per-label logits or over the one score of a regression."""
    one, two = outputs([[1.0], [4.0]]), outputs([[3.0], [0.0]])
    assert together(Fixed(), one, two, output="value").tolist() == [[2.0], [2.0]]
    with pytest.raises(InputError, match="no probabilities to average"):
        Fixed(of="probabilities").check(2, "value")


def test_equal_teachers_are_one_teacher() -> None:
    """Prevents a combination that changes what all agree on."""
    one = outputs([[1.0, -2.0, 0.5]])
    assert together(Fixed(weights=[2, 5]), one, one)[0].tolist() == pytest.approx([1.0, -2.0, 0.5], abs=1e-6)


def test_confidence_by_hand() -> None:
    """Prevents an inverted weight. p(label) = .9 and .3: e^cost = 10/9 and 10/3, its softmax .25 and .75, less 1."""
    traces = of([0.9, 0.1], labels=[0]), of([0.3, 0.7], labels=[0])
    assert Confidence().shares(traces)[:, 0].tolist() == pytest.approx([0.75, 0.25])
    # Three teachers with p = 1/2, 1/4, 1/4: e^cost = 2, 4, 4; (1 - .2) / 2, (1 - .4) / 2 twice.
    three = [of([p, 1 - p], labels=[0]) for p in (0.5, 0.25, 0.25)]
    assert Confidence().shares(three)[:, 0].tolist() == pytest.approx([0.4, 0.3, 0.3])


def test_confidence_without_labels_by_hand() -> None:
    """Prevents -100 read as a class. Entropies ln 2 and 0: e^H = 2 and 1, so 1/3 and 2/3, also for such rows."""
    even, sure = of([0.5, 0.5], [0.5, 0.5]), of([1 - 1e-9, 1e-9], [1 - 1e-9, 1e-9])
    expected = pytest.approx([1 / 3, 2 / 3], abs=1e-4)
    assert Confidence().shares((even, sure))[:, 0].tolist() == expected
    mixed = replace(even, labels=torch.tensor([1, -100])), replace(sure, labels=torch.tensor([1, -100]))
    found = Confidence().shares(mixed)
    assert found[0, 0] > 0.99, "the sure teacher is sure of the wrong class"
    assert found[:, 1].tolist() == expected
    # -ln max p: ln 2 and 0, here the same as the entropies.
    assert Confidence(measure="maximum").shares(mixed)[:, 0].tolist() == expected


def test_shares_of_a_row_are_the_mean_over_what_counts() -> None:
    """Prevents padding from deciding: of two tokens one counts; where none does, the real ones (here the second) do."""
    shares = torch.tensor([[[0.9, 0.2], [0.9, 0.6]], [[0.1, 0.8], [0.1, 0.4]]])
    outputs = torch.tensor([[True, False], [False, False]])
    found = rows(shares, Trace(mask=torch.tensor([[True, True], [False, True]]), outputs=outputs))
    assert found.tolist() == [pytest.approx([0.9, 0.6]), pytest.approx([0.1, 0.4])]


def two_teachers() -> list[LiveTeacher]:
    """One of 4 layers, one of 6, of the student's width."""
    return [LiveTeacher(tiny("bert")), LiveTeacher(tiny("bert", layers=6))]


def test_terms_inside_the_model_are_the_weighted_sum_over_teachers() -> None:
    """Prevents the first teacher's layer map for all: 2 layers of 4 and of 6, in the shares 1/4 and 3/4."""
    student, losses = tiny("bert", layers=2), [HiddenMSE(), AttentionMSE(map="last"), LogitsKL(), HardCE()]
    alone = [Objective(student, each, losses).eval()(labelled())[1] for each in two_teachers()]
    objective = Objective(student, two_teachers(), losses, combine=Fixed(weights=[1, 3])).eval()
    assert [own[0] for own in objective.pairs] == [[(0, 0), (1, 2), (2, 4)], [(0, 0), (1, 3), (2, 6)]]
    _, terms = objective(labelled())
    for name in ("hidden_mse", "attention_mse"):
        assert terms[name].item() == pytest.approx(0.25 * alone[0][name].item() + 0.75 * alone[1][name].item())
    assert terms["hard_ce"].item() == pytest.approx(alone[0]["hard_ce"].item())
    logits = [each.model(**batch()).logits for each in two_teachers()]
    mean = 0.25 * logits[0].softmax(-1) + 0.75 * logits[1].softmax(-1)
    expected = LogitsKL()(
        Trace(mask=batch()["attention_mask"].bool(), logits=student(**batch()).logits),
        Trace(mask=batch()["attention_mask"].bool(), logits=mean.log()),
    )
    assert terms["logits_kl"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_each_teacher_has_its_own_projections() -> None:
    """Prevents one matrix for two widths, and projections inside the student."""
    teachers = [LiveTeacher(tiny("bert", width=16)), LiveTeacher(tiny("bert", width=32))]
    student = tiny("bert", layers=2, width=8)
    objective = Objective(student, teachers, [HiddenMSE(embeddings=False), LogitsMSE()])
    shapes = {name: list(value.shape) for name, value in objective.projections.named_parameters()}
    assert shapes == {
        "0.1.weight": [16, 8], "0.2.weight": [16, 8], "0-2.1.weight": [32, 8], "0-2.2.weight": [32, 8],
    }  # fmt: skip
    objective(labelled())[0].backward()
    assert all(value.grad is not None for value in objective.projections.parameters())
    equal = Objective(tiny("bert", layers=2, width=16), teachers, [HiddenMSE()])
    assert list(equal.projections) == ["0-2"]


def test_rows_are_pulled_in_their_shares() -> None:
    """Prevents one mean weight for the batch: the gradient is that of row losses, each in its own share."""
    state = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]], requires_grad=True)
    mask = torch.ones(2, 1, dtype=torch.bool)
    student = Trace(mask=mask, hidden={1: state}, depth=1)
    teacher = Trace(mask=mask, hidden={1: torch.zeros(2, 1, 2)}, depth=1)
    loss = HiddenMSE(embeddings=False)
    shares = torch.tensor([0.25, 0.75])
    value = shares.mean() * loss(pulled(student, shares / shares.mean()), teacher)
    (found,) = torch.autograd.grad(value, state)
    # The mean over 2 tokens and 2 entries of x^2 has the gradient x / 2; row by row a quarter and three quarters of it.
    assert found[:, 0].tolist() == [[0.125, 0.25], [1.125, 1.5]]
    assert value.item() == pytest.approx(0.5 * loss(student, teacher).item())


def test_confidence_reaches_states() -> None:
    """Prevents a teacher that is wrong on a row from pulling that row's states as much as the right one."""
    student, teachers = tiny("bert", layers=2), two_teachers()
    logits = torch.zeros(2, 2, 3)
    logits[0, 0, 0] = logits[1, 0, 1] = logits[0, 1, 2] = logits[1, 1, 1] = 30.0  # labels 0 and 2: the first is right
    for each, teacher in enumerate(teachers):
        teacher.model.classifier.register_forward_hook(lambda *_, each=each: logits[each])
    confident = Objective(student, teachers, [HiddenMSE()], combine=Confidence()).eval()
    gradient = torch.autograd.grad(confident(labelled())[0], confident.trained(), allow_unused=True)
    first = Objective(student, teachers[0], [HiddenMSE()]).eval()
    expected = torch.autograd.grad(first(labelled())[0], first.trained(), allow_unused=True)
    for one, two in zip(gradient, expected, strict=True):
        assert (one is None) == (two is None)
        assert one is None or torch.allclose(one, two, rtol=1e-3, atol=1e-6)


def test_soft_maps_with_each_teacher() -> None:
    """Prevents weights of one teacher's depth for the other: 2 layers against 4 and against 6."""
    objective = Objective(tiny("bert", layers=2), two_teachers(), [HiddenMSE(map="transport"), HiddenCosine()]).eval()
    with torch.no_grad():
        maps = objective.layer_maps(labelled())
    assert [[len(row) for row in each["weights"]] for each in maps["hidden_mse"]] == [[4, 4], [6, 6]]
    assert maps["hidden_cosine"] == [{"teacher": 1, "pairs": [[2, 4]]}, {"teacher": 2, "pairs": [[2, 6]]}]


def test_what_cannot_be_combined_is_refused() -> None:
    """Prevents a wrong number of weights, confidence of a score, one teacher weighed against itself, unequal heads."""
    with pytest.raises(InputError, match="3 weights for 2 teachers"):
        Objective(tiny("bert", layers=2), two_teachers(), [LogitsKL()], combine=Fixed(weights=[1, 1, 1]))
    with pytest.raises(InputError, match="needs a distribution over classes"):
        Objective(tiny("bert", layers=2), two_teachers(), [LogitsMSE()], combine=Confidence(), output="value")
    with pytest.raises(InputError, match="there is one; name two"):
        Objective(tiny("bert", layers=2), LiveTeacher(tiny("bert")), [LogitsKL()], combine=Confidence())
    with pytest.raises(InputError, match="heads of 3, 2 outputs"):
        together(Fixed(), outputs([[1.0, 2.0, 3.0]]), outputs([[1.0, 2.0]]))
    with pytest.raises(InputError, match=r"^hidden_mse: .*no deeper than its teacher"):
        Objective(tiny("bert", layers=5), two_teachers(), [HiddenMSE()])
