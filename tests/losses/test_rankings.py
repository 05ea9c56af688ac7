"""The losses on candidates' scores against numbers worked out by hand from the papers' formulas."""

from __future__ import annotations

import math

import pytest
import torch

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.losses.margin_mse import MarginMSE
from compress.losses.ranking_kl import RankingKL
from tests.losses.traces import outputs, scored

LN3 = math.log(3)
APART = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)


def test_margin_mse_by_hand() -> None:
    """Prevents scores from being compared themselves: margins 1 and 3 are 4 apart, equal ones of another query 0."""
    student, teacher = scored([1.0, 0.0, 5.0, 5.0], [7, 7, 8, 8]), scored([13.0, 10.0, 0.0, 0.0], [7, 7, 8, 8])
    assert MarginMSE()(student, teacher).item() == pytest.approx(2.0)


def test_margin_mse_takes_every_pair_and_weighs_queries_alike() -> None:
    """Prevents long lists from drowning short ones: 4 for a pair, (1 + 9 + 4) / 3 for three; one alone is no pair."""
    groups = [1, 2, 1, 2, 2, 3]  # not in order
    student = scored([1.0, 0.0, 0.0, 0.0, 0.0, 50.0], groups)
    teacher = scored([3.0, 0.0, 0.0, 1.0, 3.0, -50.0], groups)
    assert MarginMSE()(student, teacher).item() == pytest.approx((4 + 14 / 3) / 2, rel=1e-6)


def test_ranking_kl_by_hand() -> None:
    """Prevents a softmax over the whole batch and a missing T^2: (3/4, 1/4) against (1/2, 1/2), and an equal query."""
    student = scored([5.0, 2.0, 5.0, 2.0], [1, 2, 1, 2])
    teacher = scored([LN3, 1.0, 0.0, 1.0], [1, 2, 1, 2])
    assert RankingKL()(student, teacher).item() == pytest.approx(APART / 2, abs=1e-6)
    soft = scored([2 * LN3, 1.0, 0.0, 1.0], [1, 2, 1, 2])
    assert RankingKL(temperature=2.0)(student, soft).item() == pytest.approx(4 * APART / 2, abs=1e-6)


def test_ranking_kl_with_one_large_list_and_one_alone() -> None:
    """Prevents a query with one candidate from thinning the mean: three candidates against uniform, once."""
    p = torch.tensor([1.0, 2.0, 0.0]).softmax(0)
    expected = (p * (p * 3).log()).sum().item()
    student, teacher = scored([0.0, 0.0, 0.0, 9.0], [1, 1, 1, 2]), scored([1.0, 2.0, 0.0, -9.0], [1, 1, 1, 2])
    assert RankingKL()(student, teacher).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [MarginMSE(), RankingKL()])
def test_the_level_of_a_query_is_free(loss: MarginMSE | RankingKL) -> None:
    """Prevents the student from having to learn the teacher's zero: another constant for each query costs nothing."""
    groups = [1, 1, 1, 2, 2]
    teacher = scored([1.0, 2.0, 0.5, -3.0, 4.0], groups)
    student = scored([11.0, 12.0, 10.5, -103.0, -96.0], groups)
    assert loss(student, teacher).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("loss", [MarginMSE(), RankingKL()])
def test_degenerate_input_is_refused_with_the_reason(loss: MarginMSE | RankingKL) -> None:
    """Prevents silent nonsense: no groups, several outputs, candidates that do not count."""
    with pytest.raises(InputError, match="needs groups"):
        loss(outputs([[1.0], [2.0]]), outputs([[1.0], [2.0]]))
    with pytest.raises(InputError, match="2 outputs"):
        loss(outputs([[1.0, 2.0]]), outputs([[1.0, 2.0]]))
    counts = torch.tensor([True, True, False])
    three = Trace(
        mask=torch.ones(3, 1).bool(), logits=torch.tensor([[1.0], [2.0], [9.0]]), outputs=counts,
        groups=torch.tensor([1, 1, 1]),
    )  # fmt: skip
    two = scored([1.0, 5.0], [1, 1])
    assert loss(three, two).item() == pytest.approx(loss(scored([1.0, 2.0], [1, 1]), two).item())


@pytest.mark.parametrize("loss", [MarginMSE(), RankingKL()])
def test_a_batch_of_queries_with_one_candidate_is_no_end(loss: MarginMSE | RankingKL) -> None:
    """Prevents a training that ends after hours at a batch of leftovers: it gives 0, and a gradient of 0."""
    student = scored([1.0, 2.0], [1, 2])
    assert student.logits is not None
    student.logits.requires_grad_()
    value = loss(student, scored([5.0, -2.0], [1, 2]))
    value.backward()
    assert value.item() == 0 and student.logits.grad is not None and student.logits.grad.abs().sum() == 0
