"""Balancing: the factors by hand, and that a broken run goes on with the same ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from compress.distill.balance.base import Balance
from compress.distill.balance.gradient_norm import GradientNorm
from compress.distill.balance.uncertainty import Uncertainty
from compress.distill.objective import Objective
from compress.distill.teacher import LiveTeacher
from compress.losses.hard_ce import HardCE
from compress.losses.hidden_mse import HiddenMSE
from compress.losses.logits_kl import LogitsKL
from compress.train.batches import Batch, TrainData
from compress.train.checkpoint import weights_of
from compress.train.fit import FitResult, fit
from compress.train.options import TrainOptions
from compress.train.trainer import Job, Loop
from tests.train import tiny


def lines(point: nn.Parameter, *slopes: float) -> list[Tensor]:
    """Terms whose gradients have these lengths."""
    return [slope * point.sum() for slope in slopes]


def test_gradient_norms_become_equal_by_hand() -> None:
    """Prevents shares of the loss for shares of the gradient. Lengths 3 and 1 at weights 1, 1: factors 1/2 and 3/2."""
    balancer, point = GradientNorm().build(2), nn.Parameter(torch.tensor([1.0]))
    total = balancer([1.0, 1.0], lines(point, 3.0, 1.0), [point])
    assert balancer.factors().tolist() == pytest.approx([0.5, 1.5])
    assert total.item() == pytest.approx(0.5 * 3 + 1.5)


def test_the_recipe_weight_is_the_share_of_the_gradient() -> None:
    """Prevents balancing that forgets the weights: 3 to 1 stays 3 to 1, and the weights keep their sum."""
    balancer, point = GradientNorm().build(2), nn.Parameter(torch.tensor([1.0]))
    balancer([3.0, 1.0], lines(point, 2.0, 6.0), [point])
    one, two = balancer.factors().tolist()
    assert 3 * one * 2 == pytest.approx(3 * (1 * two * 6))
    assert 3 * one + two == pytest.approx(4)


def test_momentum_and_interval_by_hand() -> None:
    """Prevents a measurement at every batch, or one that wipes out the last: (1/2, 3/2), then (3/2, 1/2)."""
    options, point = GradientNorm(every=2, momentum=0.5), nn.Parameter(torch.tensor([1.0]))
    balancer = options.build(2)
    balancer([1.0, 1.0], lines(point, 3.0, 1.0), [point])
    balancer([1.0, 1.0], lines(point, 1.0, 3.0), [point])
    assert balancer.factors().tolist() == pytest.approx([0.5, 1.5]), "the second batch is not measured"
    balancer([1.0, 1.0], lines(point, 1.0, 3.0), [point])
    assert balancer.factors().tolist() == pytest.approx([math.sqrt(0.75)] * 2)


def test_a_slow_term_is_pushed_by_hand() -> None:
    """Prevents `alpha` that is read and not used. Left of the start: 1 and 1/3, over their mean 3/2 and 1/2."""
    balancer, point = GradientNorm(every=1, momentum=0.0, alpha=1.0).build(2), nn.Parameter(torch.tensor([3.0]))
    balancer([1.0, 1.0], [point.sum(), point.sum()], [point])
    assert balancer.factors().tolist() == pytest.approx([1.0, 1.0])
    fallen = point.sum() - 2  # 1 of 3 left, with the same gradient
    balancer([1.0, 1.0], [point.sum(), fallen], [point])
    assert balancer.factors().tolist() == pytest.approx([1.5, 0.5])


def test_a_term_without_a_label_at_first_starts_later() -> None:
    """Prevents a first batch without labels from making a term on labels a million times as slow as the others."""
    balancer, point = GradientNorm(every=1, momentum=0.0, alpha=1.0).build(2), nn.Parameter(torch.tensor([2.0]))
    balancer([1.0, 1.0], [point.sum(), point.sum() * 0.0], [point])
    balancer([1.0, 1.0], [point.sum(), point.sum()], [point])
    assert balancer.factors().tolist() == pytest.approx([1.0, 1.0])


def test_a_dead_term_keeps_its_factor() -> None:
    """Prevents a division by a gradient of zero, and one term's death from changing what the others weigh."""
    balancer, point = GradientNorm().build(3), nn.Parameter(torch.tensor([1.0]))
    balancer([1.0, 1.0, 5.0], [*lines(point, 3.0, 1.0), torch.tensor(2.0)], [point])
    assert balancer.factors().tolist() == pytest.approx([0.5, 1.5, 1.0])
    bounded = GradientNorm(limit=2.0).build(2)
    bounded([1.0, 1.0], lines(point, 1e6, 1.0), [point])
    assert bounded.factors().tolist() == pytest.approx([0.5, 2.0])


def test_uncertainty_by_hand() -> None:
    """Prevents a wrong form. With s = (0, ln 4): 2 (1 x 8 + 0) + 3 (8 / 4 + ln 4); ds = w (1 - e^-s L), scaled."""
    balancer = Uncertainty(speed=2.0).build(2)
    point = nn.Parameter(torch.tensor([8.0]))
    bias = dict(balancer.named_parameters())["bias"]
    with torch.no_grad():
        bias[1] = math.log(4) / 2
    total = balancer([2.0, 3.0], lines(point, 1.0, 1.0), [point])
    assert total.item() == pytest.approx(16 + 3 * (2 + math.log(4)))
    assert balancer.factors().tolist() == pytest.approx([1.0, 0.25])
    total.backward()
    assert point.grad is not None and point.grad.item() == pytest.approx(2 * 1 + 3 * 0.25)
    assert bias.grad is not None
    assert bias.grad.tolist() == pytest.approx([2 * (1 - 8) * 1e-3, 3 * (1 - 2) * 1e-3])


def objective(balance: Balance | None) -> Objective:
    """A one-layer student of two classes, a two-layer teacher twice as wide, and three terms."""
    student = tiny.objective().student
    assert isinstance(student, BertForSequenceClassification)
    torch.manual_seed(6)
    config = BertConfig(
        vocab_size=tiny.VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16,
    )  # fmt: skip
    teacher = LiveTeacher(BertForSequenceClassification(config))
    losses = [HardCE(), LogitsKL(), HiddenMSE(map="attention", weight=3.0)]
    return Objective(student, teacher, losses, balance=balance)


def train(
    work: Path, balance: Balance | None, broken_at: int = 0, before: Any = None, **changes: Any
) -> tuple[FitResult, Objective]:
    """Fit the objective; `broken_at`: the forward pass at which it is interrupted."""
    made = objective(balance)
    rows, calls = tiny.features(), 0

    def loss(module: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        nonlocal calls
        calls += 1
        if calls == broken_at:
            raise KeyboardInterrupt
        found: tuple[Tensor, dict[str, Tensor]] = module(batch)
        return found

    if before is not None:
        before(made)
    options = TrainOptions(**{**tiny.OPTIONS.dump(), "epochs": 2, **changes})
    data = TrainData(rows, tiny.collate, [len(row["input_ids"]) for row in rows])
    return fit(made, data, loss, options, work=work, seed=11), made


@pytest.mark.parametrize("changes", [{}, {"accumulate": 3}])
@pytest.mark.parametrize("balance", [GradientNorm(every=3), Uncertainty()])
def test_a_broken_run_ends_bit_equal(balance: Balance, changes: dict[str, Any], tmp_path: Path) -> None:
    """Prevents factors, a count of batches or log-variances that no checkpoint carries."""
    whole, module = train(tmp_path / "whole", balance, **changes)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", balance, broken_at=14, **changes)
    torch.manual_seed(99)
    resumed, again = train(tmp_path / "broken", balance, **changes)
    assert resumed.resumed_from is not None
    left, right = weights_of(module), weights_of(again)
    assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
    assert resumed.history == whole.history
    factors = module.balancer.factors()
    assert factors is not None and not torch.allclose(factors, torch.ones(3))


def test_the_weights_are_in_the_history_and_not_in_the_student(tmp_path: Path) -> None:
    """Prevents balancing that nobody can see afterwards, and its state inside the saved model."""
    result, module = train(tmp_path, GradientNorm(every=2))
    names = ["hard_ce", "logits_kl", "hidden_mse"]
    weights = [[point["terms"][f"{name} weight"] for name in names] for point in result.history]
    assert weights[0] != weights[-1]
    assert [sum(each) for each in weights] == pytest.approx([5.0] * len(weights), rel=0.2)
    assert not any("balancer" in name for name in module.student.state_dict())
    plain, _ = train(tmp_path / "plain", None)
    assert set(plain.history[0]["terms"]) == set(names)


def test_log_variances_neither_decay_nor_cut_the_students_gradient(tmp_path: Path) -> None:
    """Prevents decay that draws them to 0, and a gradient of theirs that clipping takes out on the student."""
    module = objective(Uncertainty())
    rows = tiny.features()
    data = TrainData(rows, tiny.collate, [len(row["input_ids"]) for row in rows])
    options = TrainOptions(**{**tiny.OPTIONS.dump(), "weight_decay": 0.3})
    job = Job(module, data, tiny.loss, options, tmp_path, 1, torch.device("cpu"), "fp32", "", None, "")
    groups = Loop(job).create_optimizer().param_groups
    (bias,) = module.balancer.parameters()
    assert not any(value is bias for group in groups if group["weight_decay"] > 0 for value in group["params"])
    assert any(value is bias for group in groups for value in group["params"])
    module(tiny.collate(rows[:8], torch.Generator().manual_seed(0)))[0].backward()
    assert bias.grad is not None
    student = torch.nn.utils.get_total_norm([p.grad for p in module.trained() if p.grad is not None])
    assert 0 < bias.grad.norm() < 0.01 * student


def test_log_variances_move_in_a_fine_tuning(tmp_path: Path) -> None:
    """Prevents a method that is inert at the learning rates of fine-tuning: a term of 30 must be weighed down."""
    _, module = train(tmp_path, Uncertainty(), learning_rate=5e-4, warmup=0.0)
    factors = module.balancer.factors()
    assert factors is not None and (factors - 1).abs().max() > 0.2
