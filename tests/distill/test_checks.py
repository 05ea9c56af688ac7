"""What is looked at before a student is paid for."""

from __future__ import annotations

import pytest
import torch

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.distill.checks import check_outputs, reads_unlabelled
from compress.distill.combine.base import rows
from compress.losses.base import Loss
from compress.losses.hard_ce import HardCE
from compress.losses.logits_bce import LogitsBCE
from compress.losses.logits_kl import LogitsKL
from compress.losses.logits_mse import LogitsMSE
from compress.losses.soft_ce import SoftCE


@pytest.mark.parametrize(
    ("output", "loss", "instead"),
    [("labels", LogitsKL(), "logits_bce"), ("labels", SoftCE(), "logits_bce"), ("vector", LogitsKL(), "embedding_mse")],
)
def test_a_softmax_over_what_is_no_distribution_is_refused(output: str, loss: Loss, instead: str) -> None:
    """Prevents independent labels, or the numbers of an embedding, from competing in a softmax."""
    with pytest.raises(InputError, match=f"{loss.registered_name}: .*use {instead}"):
        check_outputs([LogitsMSE(), loss], output)
    check_outputs([loss], "classes")
    check_outputs([LogitsBCE(), LogitsMSE()], "labels")


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
