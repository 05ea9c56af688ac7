"""Trainings under gates: bit-equal when broken off, judged at the end only, one result for two processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.distill.gates.movement import Movement
from compress.distill.objective import Objective
from compress.losses.hard_ce import HardCE
from compress.train.checkpoint import weights_of
from tests.distill.gated import HALF, SUMMED, bert, crewed, train
from tests.train import crew


@pytest.mark.parametrize(
    ("at", "changes"),
    [
        (22, {"accumulate": 3, "ema": 0.9, "epochs": 4}),
        (9, {"gradient_checkpointing": True, "precision": "bf16", "checkpoint_steps": 4}),
    ],
    ids=["accumulated", "recomputed in bf16"],
)
def test_a_broken_run_ends_bit_equal(at: int, changes: dict[str, Any], tmp_path: Path) -> None:
    """Prevents scores or gates that no checkpoint carries, and stale gates in the first batch after a resume."""
    whole, module, gates = train(tmp_path / "whole", **changes)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", broken_at=at, **changes)
    torch.manual_seed(99)
    resumed, again, others = train(tmp_path / "broken", **changes)
    assert resumed.resumed_from is not None and resumed.history == whole.history
    left, right = weights_of(module), weights_of(again)
    assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
    assert torch.equal(gates.scores, others.scores) and gates.scores.abs().max() > 0
    assert 0 < gates.gates.mean() < 1


def test_recomputed_activations_count_once(tmp_path: Path) -> None:
    """Prevents a gate's gradient that is counted again when a layer is computed twice."""
    _, _, plain = train(tmp_path / "plain", SUMMED, epochs=1)
    _, _, twice = train(tmp_path / "twice", SUMMED, epochs=1, gradient_checkpointing=True)
    assert torch.allclose(plain.scores, twice.scores, rtol=1e-3, atol=1e-6)


def test_the_history_shows_the_gates_shutting(tmp_path: Path) -> None:
    """Prevents a schedule that is computed and never reaches the forward pass."""
    result, _, _ = train(tmp_path)
    heads = [entry["terms"]["heads kept"] for entry in result.history]
    ffn = [entry["terms"]["ffn kept"] for entry in result.history]
    assert heads[0] == ffn[0] == 1.0 and heads[-1] == ffn[-1] == 0.5
    assert ffn == sorted(ffn, reverse=True) and len(set(ffn)) > 2


def test_only_the_final_number_of_gates_can_win(tmp_path: Path) -> None:
    """Prevents the full model, which dev likes best, from being saved as the pruned one; patience waits for it too."""
    looks: list[float] = []

    def falling(gates: Any) -> float:
        looks.append(float(gates.gates.mean()))
        return 1.0 - 0.01 * len(looks)

    result, _, gates = train(tmp_path / "one", dev=falling, evaluate_per_epoch=4)
    final = HALF.final_from(result.steps)
    assert len(looks) == 8 and looks[0] == 1.0
    assert (result.steps, final, result.best_step) == (16, 12, 12)
    assert result.best_metric == pytest.approx(1.0 - 0.01 * 6), "the sixth look, at update 12, is the first that counts"
    assert gates.gates.mean() == 0.5
    patient, _, _ = train(tmp_path / "two", dev=falling, evaluate_per_epoch=4, patience=1)
    assert patient.stopped_early and patient.steps > final


def test_the_best_weights_bring_their_gates_along(tmp_path: Path) -> None:
    """Prevents the best weights under the last gates: two students that nobody measured together."""
    held: list[torch.Tensor] = []

    def first_is_best(gates: Any) -> float:
        held.append(gates.gates.clone())
        return -float(len(held))

    options = Movement(heads=0.5, ffn=0.5, warmup=0.0, cooldown=1.0)
    _, _, gates = train(tmp_path, options, dev=first_is_best, evaluate_per_epoch=2, learning_rate=2e-2)
    assert torch.equal(gates.gates, held[0]) and any(not torch.equal(held[0], later) for later in held[1:])


@pytest.mark.slow
def test_two_processes_score_as_one(tmp_path: Path) -> None:
    """Prevents scores of one process's rows, or gates that differ between processes that share gradients."""
    changes = {"epochs": 1.0, "checkpoint_steps": 0}
    for name in ("two", "one"):
        (tmp_path / name).mkdir()
    assert crew.finish(crew.start(2, crewed, str(tmp_path / "two"), {**changes, "batch_size": 8})) == [0, 0]
    crewed(0, str(tmp_path / "one"), {**changes, "batch_size": 16})
    two = [json.loads((tmp_path / "two" / f"scores-{rank}.json").read_text()) for rank in (0, 1)]
    one = json.loads((tmp_path / "one" / "scores-0.json").read_text())
    assert two[0] == two[1]
    assert torch.allclose(torch.tensor(two[0]["scores"]), torch.tensor(one["scores"]), rtol=1e-3, atol=1e-5)


def test_what_matters_stays_and_what_does_not_goes(tmp_path: Path) -> None:
    """Prevents scores of the wrong sign, or of the weights' size: large weights that nothing reaches go, and those that
    grow from nothing, since the label is learned through them alone, stay."""
    student = bert(1, dropout=0.0).requires_grad_(False)
    layer = student.bert.encoder.layer[0]
    useless = torch.arange(32) % 2 == 0  # the first of every pair, which a tie would keep
    with torch.no_grad():
        for reader in (student.bert.pooler.dense, student.classifier, layer.intermediate.dense):
            reader.weight.mul_(10)  # weights as drawn hardly move the loss
        layer.intermediate.dense.bias[useless] = -200.0
        layer.output.dense.weight[:, useless] = 5.0
        layer.output.dense.weight[:, ~useless] = 0.0
    layer.output.dense.weight.requires_grad_(True)
    gates = Movement(ffn=0.5).build(student)
    made = Objective(student, None, [HardCE()], gates=gates)
    result, _, _ = train(tmp_path, made=(made, gates), epochs=6, learning_rate=1e-2)
    assert result.history[-1]["loss"] < 0.8 * result.history[0]["loss"]
    kept = gates.gates.bool()
    assert int(kept.sum()) == 16 and int((kept & ~useless).sum()) >= 13
