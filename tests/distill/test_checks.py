"""What is looked at before a student is paid for."""

from __future__ import annotations

import pytest
import torch

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.distill.checks import check_outputs, reads_unlabelled
from compress.distill.combine.base import rows
from compress.losses.base import LOSSES, Loss
from compress.losses.hard_bce import HardBCE
from compress.losses.hard_ce import HardCE
from compress.losses.hard_mse import HardMSE
from compress.losses.hidden_mse import HiddenMSE
from compress.losses.logits_bce import LogitsBCE
from compress.losses.logits_kl import LogitsKL
from compress.losses.logits_mse import LogitsMSE
from compress.losses.soft_ce import SoftCE
from compress.tasks.base import TASKS


@pytest.mark.parametrize(
    ("output", "loss", "instead"),
    [
        ("labels", LogitsKL(), "logits_bce or logits_mse"), ("labels", SoftCE(), "logits_bce or logits_mse"),
        ("vector", LogitsKL(), "embedding_mse or embedding_cosine"), ("value", LogitsKL(), "logits_mse"),
        ("span", LogitsBCE(), "logits_kl"), ("vocabulary", LogitsBCE(), "logits_kl"),
        ("value", LogitsBCE(), "logits_mse"), ("labels", HardCE(), "hard_bce"),
        ("value", HardCE(), "hard_mse"), ("classes", HardMSE(), "hard_ce"),
        ("span", HardBCE(), "hard_ce"), ("vector", HardMSE(), "hard_cosine or hard_contrastive"),
    ],
)  # fmt: skip
def test_a_loss_on_other_outputs_is_refused(output: str, loss: Loss, instead: str) -> None:
    """Prevents labels that compete in a softmax, a yes or no of each place of a text with padding in the mean, and
    advice that goes in a circle: hard_ce to hard_mse to hard_ce.
    """
    with pytest.raises(InputError, match=rf"^{loss.registered_name}: is for .*, and this task has .*; use {instead}$"):
        check_outputs([LogitsMSE(), loss], output)
    for name in instead.split(" or "):
        check_outputs([LOSSES.get(name)()], output)


def test_losses_on_these_outputs_are_taken() -> None:
    """Prevents a check that is stricter than the losses: any task has logits_mse, a classifier a yes or no of each."""
    outputs = {TASKS.get(name).output for name in TASKS.names()}
    assert outputs == {"classes", "labels", "value", "span", "vector", "vocabulary"}
    for output in outputs:
        check_outputs([LogitsMSE(), HiddenMSE()], output)
    check_outputs([LogitsBCE(), LogitsKL(), HardCE()], "classes")
    check_outputs([LogitsKL(), SoftCE(), HardCE()], "span")
    check_outputs([LogitsKL(), HardCE()], "vocabulary")


def test_soft_labels_learn_from_unlabelled_rows() -> None:
    """Prevents rows whose teacher would be heard from being left out, since the loss also reads labels."""
    assert reads_unlabelled("auto", [SoftCE()], present=True, labelled=True)
    assert not reads_unlabelled("auto", [HardCE()], present=True, labelled=True)
    with pytest.raises(InputError, match="learns from labels only"):
        reads_unlabelled("use", [HardCE()], present=True, labelled=True)


def test_shares_of_rows_whose_outputs_are_no_tokens() -> None:
    """Prevents several teachers from failing on answers, whose two outputs stand beside a mask of many tokens."""
    mask = torch.ones(2, 7, dtype=torch.bool)
    outputs = torch.tensor([[True, True], [False, False]])
    shares = torch.tensor([[[0.2, 0.4], [0.5, 0.7]], [[0.8, 0.6], [0.5, 0.3]]])
    found = rows(shares, Trace(mask=mask, outputs=outputs))
    assert torch.allclose(found, torch.tensor([[0.3, 0.6], [0.7, 0.4]]))
