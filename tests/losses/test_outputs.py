"""The losses on outputs against numbers worked out by hand from the papers' formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.losses.base import Loss
from compress.losses.hard_bce import HardBCE
from compress.losses.hard_ce import HardCE
from compress.losses.hard_mse import HardMSE
from compress.losses.logits_bce import LogitsBCE
from compress.losses.logits_js import LogitsJS
from compress.losses.logits_kl import LogitsKL
from compress.losses.logits_mse import LogitsMSE
from compress.losses.logits_tv import LogitsTV
from compress.losses.soft_ce import SoftCE
from tests.losses.traces import outputs

LN3 = math.log(3)


def test_hard_ce_by_hand() -> None:
    """Prevents a cross-entropy that is averaged over classes: -log(3/4) and -log(1/2), mean of the two."""
    student = outputs([[LN3, 0.0], [0.0, 0.0]], [0, 1])
    assert HardCE()(student, None).item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2, abs=1e-6)


def test_logits_kl_by_hand_at_temperature_one() -> None:
    """Prevents a reversed KL and a mean over classes: p = (3/4, 1/4) against q = (1/2, 1/2)."""
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    found = LogitsKL(temperature=1.0)(outputs([[0.0, 0.0]]), outputs([[LN3, 0.0]]))
    assert found.item() == pytest.approx(expected, abs=1e-6)
    turned = LogitsKL(temperature=1.0)(outputs([[LN3, 0.0]]), outputs([[0.0, 0.0]]))
    assert turned.item() == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25), abs=1e-6)


def test_logits_kl_carries_temperature_squared() -> None:
    """Prevents a missing T^2: logits 2 ln 3 at T = 2 give the distribution of ln 3 at T = 1, four times the loss."""
    one = LogitsKL(temperature=1.0)(outputs([[0.0, 0.0]]), outputs([[LN3, 0.0]]))
    two = LogitsKL(temperature=2.0)(outputs([[0.0, 0.0]]), outputs([[2 * LN3, 0.0]]))
    assert two.item() == pytest.approx(4 * one.item(), abs=1e-6)


def test_logits_kl_gradient_keeps_its_size_when_the_temperature_changes() -> None:
    """Prevents a term that vanishes at high temperature: for near logits the gradient is (s - t) / c at every T."""
    for temperature in (1.0, 8.0, 64.0):
        logits = torch.tensor([[0.01, -0.01]], requires_grad=True)
        student = Trace(mask=torch.ones(1, 1, dtype=torch.bool), logits=logits)
        LogitsKL(temperature=temperature)(student, outputs([[0.0, 0.0]])).backward()
        assert logits.grad is not None
        assert logits.grad[0, 0].item() == pytest.approx(0.005, rel=0.01)


def test_logits_mse_by_hand() -> None:
    """Prevents a mean over classes: squared distances 1 + 4 and 0, mean over the two rows."""
    found = LogitsMSE()(outputs([[1.0, 2.0], [5.0, 5.0]]), outputs([[0.0, 4.0], [5.0, 5.0]]))
    assert found.item() == pytest.approx(2.5)


def test_hard_mse_by_hand() -> None:
    """Prevents a regression that is trained as classes: (1 - 3)^2 and 0, mean 2."""
    assert HardMSE()(outputs([[1.0], [2.0]], [3.0, 2.0]), None).item() == pytest.approx(2.0)


def test_hard_ce_spreads_the_smoothed_share_over_all_classes() -> None:
    """Prevents smoothing that leaves the label out, or takes e of it: costs a and b give 0.8 a + 0.2 (a + b) / 2."""
    a, b = -math.log(0.75), -math.log(0.25)
    found = HardCE(smoothing=0.2)(outputs([[LN3, 0.0]], [0]), None)
    assert found.item() == pytest.approx(0.8 * a + 0.2 * (a + b) / 2, abs=1e-6)
    assert found.item() == pytest.approx(functional.cross_entropy(torch.tensor([[LN3, 0.0]]), torch.tensor([0]),
                                                                 label_smoothing=0.2).item())  # fmt: skip


@pytest.mark.parametrize("loss", [HardCE(), HardCE(smoothing=0.1)])
def test_hard_ce_leaves_out_rows_without_a_label(loss: HardCE) -> None:
    """Prevents unlabelled rows from counting as zeros in the mean, and NaN for a batch without any label."""
    labelled = loss(outputs([[LN3, 0.0]], [0]), None).item()
    assert loss(outputs([[LN3, 0.0], [5.0, 1.0]], [0, -100]), None).item() == pytest.approx(labelled)
    assert nothing_but_a_path(loss, [[LN3, 0.0], [5.0, 1.0]], torch.tensor([-100, -100])) == 0


def test_hard_mse_leaves_out_rows_without_a_label() -> None:
    """Prevents NaN labels from reaching the value or the gradient: only (1 - 3)^2 counts."""
    assert HardMSE()(outputs([[1.0], [2.0]], [3.0, math.nan]), None).item() == pytest.approx(4.0)
    assert nothing_but_a_path(HardMSE(), [[1.0], [2.0]], torch.tensor([math.nan, math.nan])) == 0


def test_hard_bce_by_hand() -> None:
    """Prevents a softmax over labels: sigmoids 3/4 (holds) and 1/2 (does not) give the mean of two logarithms."""
    found = HardBCE()(outputs([[LN3, 0.0]], [[1.0, 0.0]]), None)
    assert found.item() == pytest.approx((-math.log(0.75) - math.log(0.5)) / 2, abs=1e-6)


def test_hard_bce_leaves_out_what_is_not_known() -> None:
    """Prevents -100 from being taken for a label, a row of it or a single entry."""
    known = HardBCE()(outputs([[LN3, 0.0]], [[1.0, 0.0]]), None).item()
    row = HardBCE()(outputs([[LN3, 0.0], [9.0, -9.0]], [[1.0, 0.0], [-100.0, -100.0]]), None)
    assert row.item() == pytest.approx(known)
    entry = HardBCE()(outputs([[LN3, 7.0]], [[1.0, -100.0]]), None)
    assert entry.item() == pytest.approx(-math.log(0.75), abs=1e-6)
    assert nothing_but_a_path(HardBCE(), [[1.0, 2.0]], torch.full((1, 2), -100.0)) == 0


def test_logits_bce_by_hand() -> None:
    """Prevents a reversed KL and a missing T^2: teacher 3/4 against student 1/2, and an equal label beside it."""
    apart = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    found = LogitsBCE()(outputs([[0.0, 1.0]]), outputs([[LN3, 1.0]]))
    assert found.item() == pytest.approx(apart / 2, abs=1e-6)
    soft = LogitsBCE(temperature=2.0)(outputs([[0.0, 2.0]]), outputs([[2 * LN3, 2.0]]))
    assert soft.item() == pytest.approx(4 * apart / 2, abs=1e-6)
    assert LogitsBCE()(outputs([[80.0, -80.0]]), outputs([[-80.0, 80.0]])).item() == pytest.approx(80.0)


def test_soft_ce_by_hand() -> None:
    """Prevents a label part that carries T^2, and a teacher part that does not: 0.25 teacher, 0.75 label, T = 2."""
    student, teacher = outputs([[2 * LN3, 0.0]], [1]), outputs([[0.0, 0.0]])
    soft = 4 * (-math.log(0.75) - math.log(0.25)) / 2  # T^2 times H((1/2, 1/2), (3/4, 1/4))
    hard = -math.log(0.1)  # softmax of 2 ln 3 is (9/10, 1/10)
    found = SoftCE(alpha=0.25, temperature=2.0)(student, teacher)
    assert found.item() == pytest.approx(0.25 * soft + 0.75 * hard, abs=1e-5)


def test_soft_ce_at_temperature_one_is_the_cross_entropy_with_the_mixture() -> None:
    """Prevents soft labels that are no distribution: one target 0.5 p + 0.5 smoothed label, and p where no label is."""
    student, teacher = (
        torch.tensor([[0.3, -1.0, 2.0], [1.0, 0.0, 0.5]]),
        torch.tensor([[1.0, 0.2, 0.1], [0.0, 2.0, 1.0]]),
    )
    p = teacher.softmax(-1)
    target = torch.stack([0.5 * p[0] + 0.5 * torch.tensor([0.1, 0.1, 0.8]), p[1]])
    expected = functional.cross_entropy(student, target).item()
    mine, theirs = outputs(student.tolist(), [2, -100]), outputs(teacher.tolist())
    assert SoftCE(smoothing=0.3)(mine, theirs).item() == pytest.approx(expected, abs=1e-6)


def test_logits_js_by_hand() -> None:
    """Prevents a mixture of logits: (1, 0) and (0, 1) are log 2 apart; (3/4, 1/4) and (1/4, 3/4) have m = 1/2."""
    far = LogitsJS()(outputs([[-50.0, 50.0]]), outputs([[50.0, -50.0]]))
    assert far.item() == pytest.approx(math.log(2), abs=1e-6)
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert LogitsJS()(outputs([[0.0, LN3]]), outputs([[LN3, 0.0]])).item() == pytest.approx(expected, abs=1e-6)
    soft = LogitsJS(temperature=2.0)(outputs([[0.0, 2 * LN3]]), outputs([[2 * LN3, 0.0]]))
    assert soft.item() == pytest.approx(4 * expected, abs=1e-5)
    uneven = 0.2 * math.log(1 / 0.2) + 0.8 * math.log(1 / 0.8)
    turned = LogitsJS(beta=0.2)(outputs([[-50.0, 50.0]]), outputs([[50.0, -50.0]]))
    assert turned.item() == pytest.approx(uneven, abs=1e-6)


def test_logits_js_turns_into_kl_at_its_ends() -> None:
    """Prevents beta on the wrong side: near 0 its slope is KL(teacher || student), near 1 KL(student || teacher)."""
    one, two = [[0.0, 0.5, 1.0]], [[2.0, -1.0, 0.0]]
    forward = LogitsKL(temperature=1.0)(outputs(one), outputs(two)).item()
    reverse = LogitsKL(temperature=1.0)(outputs(two), outputs(one)).item()
    assert LogitsJS(beta=1e-3)(outputs(one), outputs(two)).item() / 1e-3 == pytest.approx(forward, rel=0.02)
    assert LogitsJS(beta=1 - 1e-3)(outputs(one), outputs(two)).item() / 1e-3 == pytest.approx(reverse, rel=0.02)


def test_logits_tv_by_hand() -> None:
    """Prevents a missing half and a missing T: (3/4, 1/4) against (1/2, 1/2) is 1/4, twice that at T = 2."""
    assert LogitsTV()(outputs([[0.0, 0.0]]), outputs([[LN3, 0.0]])).item() == pytest.approx(0.25, abs=1e-6)
    soft = LogitsTV(temperature=2.0)(outputs([[0.0, 0.0]]), outputs([[2 * LN3, 0.0]]))
    assert soft.item() == pytest.approx(0.5, abs=1e-6)


FILLS = [torch.finfo(torch.float32).min, float(torch.finfo(torch.bfloat16).min), -1e4, -9984.0]


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(
    "loss",
    [HardCE(), HardCE(smoothing=0.1), SoftCE(smoothing=0.1), SoftCE(temperature=0.5), LogitsKL(temperature=4.0),
     LogitsKL(temperature=0.25), LogitsMSE(), LogitsJS(), LogitsTV()],
    ids=lambda loss: loss.registered_name,
)  # fmt: skip
def test_answers_over_padded_positions(loss: Loss, fill: float) -> None:
    """Prevents NaN, and a share of the target, from positions that a task filled with a large negative number."""
    draw = torch.Generator().manual_seed(0)
    mine, theirs = (torch.randn(2, 2, 4, generator=draw) for _ in range(2))
    expected = loss(answers(mine), answers(theirs)).item()
    padded = torch.full((2, 2, 7), fill)
    one, two = padded.clone(), padded.clone()
    one[..., :4], two[..., :4] = mine, theirs
    one.requires_grad_()
    found = loss(answers(one), answers(two))
    assert found.item() == pytest.approx(expected, rel=1e-5)
    found.backward()
    assert one.grad is not None and torch.isfinite(one.grad).all()
    assert one.grad[..., 4:].abs().sum() == 0


def test_logits_mse_of_an_answer_does_not_grow_with_the_text() -> None:
    """Prevents a term that weighs long windows more: 1 apart at every position is 1, for 4 tokens and for 400."""
    for size in (4, 400):
        assert LogitsMSE()(answers(torch.zeros(2, 2, size)), answers(torch.ones(2, 2, size))).item() == 1.0


def test_logits_mse_counts_large_negative_values_of_a_regression() -> None:
    """Prevents a regression to -20,000 from being taken for filled positions: (-20000 + 20002)^2."""
    assert LogitsMSE()(outputs([[-20000.0]]), outputs([[-20002.0]])).item() == pytest.approx(4.0)


def answers(logits: torch.Tensor) -> Trace:
    """A trace of `[b, 2, s]` logits, of which the last row's end does not count."""
    counts = torch.tensor([[True, True], [True, False]])
    mask = torch.ones(logits.shape[0], logits.shape[-1], dtype=torch.bool)
    return Trace(mask=mask, logits=logits, outputs=counts, labels=torch.tensor([[1, 3], [0, 2]]))


def nothing_but_a_path(loss: Loss, logits: list[list[float]], labels: torch.Tensor) -> float:
    """The value for unlabelled rows; fails when it has no gradient path, or a gradient that is not 0."""
    values = torch.tensor(logits, requires_grad=True)
    found = loss(Trace(mask=torch.ones(len(values), 1).bool(), logits=values, labels=labels), None)
    found.backward()
    assert values.grad is not None and values.grad.abs().sum() == 0
    return found.item()


@pytest.mark.parametrize("loss", [HardCE(), LogitsKL(temperature=3.0), LogitsMSE()])
def test_masked_outputs_never_count(loss: HardCE | LogitsKL | LogitsMSE) -> None:
    """Prevents padding from entering a token-level loss: changing what is masked changes nothing."""
    logits, truth = torch.randn(2, 3, 4), torch.randint(0, 4, (2, 3))
    counts = torch.tensor([[True, True, False], [True, False, False]])
    other = logits.clone()
    other[~counts] = 1e3
    teacher = Trace(mask=counts, logits=torch.randn(2, 3, 4), outputs=counts, labels=truth)
    found = [loss(Trace(mask=counts, logits=x, outputs=counts, labels=truth), teacher).item() for x in (logits, other)]
    assert found[0] == found[1]


@pytest.mark.parametrize("loss", [HardCE(), LogitsKL(), LogitsMSE()])
def test_scale_free_in_batch(loss: HardCE | LogitsKL | LogitsMSE) -> None:
    """Prevents a loss that grows with the batch: the same rows twice give the same value."""
    once = outputs([[1.0, 0.0], [0.0, 2.0]], [0, 1]), outputs([[0.5, 0.0], [0.0, 1.0]])
    twice = outputs([[1.0, 0.0], [0.0, 2.0]] * 2, [0, 1] * 2), outputs([[0.5, 0.0], [0.0, 1.0]] * 2)
    assert loss(*once).item() == pytest.approx(loss(*twice).item())


def test_degenerate_input_is_refused_with_the_reason() -> None:
    """Prevents silent nonsense: softmax over one output, an empty mask, other classes, no labels, T = 0."""
    with pytest.raises(InputError, match="one output"):
        LogitsKL()(outputs([[1.0]]), outputs([[2.0]]))
    for loss in (LogitsJS(), LogitsTV(), SoftCE()):
        with pytest.raises(InputError, match="one output"):
            loss(outputs([[1.0]], [0]), outputs([[2.0]]))
    with pytest.raises(InputError, match="yes or no for each of the 2 labels"):
        HardBCE()(outputs([[1.0, 2.0]], [1]), None)
    with pytest.raises(InputError, match="hard_mse"):
        HardCE()(outputs([[1.0, 2.0]], [0.5]), None)
    with pytest.raises(InputError, match="3 outputs and the teacher 2"):
        LogitsMSE()(outputs([[1.0, 2.0, 3.0]]), outputs([[1.0, 2.0]]))
    with pytest.raises(InputError, match="needs labels"):
        HardCE()(outputs([[1.0, 2.0]]), None)
    with pytest.raises(InputError, match="none was given"):
        LogitsKL()(outputs([[1.0, 2.0]]), None)
    nothing = Trace(mask=torch.zeros(1, 1).bool(), logits=torch.ones(1, 2), outputs=torch.zeros(1).bool())
    with pytest.raises(InputError, match="masked"):
        LogitsMSE()(nothing, nothing)
    with pytest.raises(ValueError, match="greater than 0"):
        LogitsKL(temperature=0.0)
    with pytest.raises(ValueError, match="less than 1"):
        HardCE(smoothing=1.0)
