"""The losses on outputs against numbers worked out by hand from the papers' formulas."""

from __future__ import annotations

import math

import pytest
import torch

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.losses.hard_ce import HardCE
from compress.losses.hard_mse import HardMSE
from compress.losses.logits_kl import LogitsKL
from compress.losses.logits_mse import LogitsMSE
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
