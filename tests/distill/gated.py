"""Trainings with gates, small enough for tests, alone and in several processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from compress.core.artifact import write_json
from compress.distill.gates.movement import Movement, MovementGating
from compress.distill.objective import Objective
from compress.distill.teacher import LiveTeacher
from compress.losses.hard_ce import HardCE
from compress.losses.hidden_mse import HiddenMSE
from compress.losses.logits_kl import LogitsKL
from compress.train.batches import Batch, TrainData
from compress.train.fit import FitResult, fit
from compress.train.options import TrainOptions
from tests.train import tiny

HALF = Movement(heads=0.5, ffn=0.5)
SUMMED = Movement(heads=0.5, ffn=0.5, rule="sum")


def bert(layers: int, width: int = 32, dropout: float = 0.1, seed: int = 5) -> BertForSequenceClassification:
    """Two heads of 16, an FFN of 32, two classes; the same weights every time."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=tiny.VOCABULARY, hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // 16,
        intermediate_size=32, max_position_embeddings=16, hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    return BertForSequenceClassification(config)


def objective(options: Movement = HALF, dropout: float = 0.1) -> tuple[Objective, MovementGating]:
    """A two-layer student with gates and a teacher of three layers, twice as wide."""
    student = bert(2, dropout=dropout)
    gates = options.build(student)
    losses = [HardCE(), LogitsKL(), HiddenMSE(weight=0.1, map="last")]
    return Objective(student, LiveTeacher(bert(3, 64, seed=6)), losses, gates=gates), gates


def train(
    work: Path,
    options: Movement = HALF,
    *,
    made: tuple[Objective, MovementGating] | None = None,
    broken_at: int = 0,
    dev: Callable[[MovementGating], float] | None = None,
    plain: bool = False,
    seed: int = 11,
    **changes: Any,
) -> tuple[FitResult, Objective, MovementGating]:
    """Fit the objective. broken_at: the forward pass at which it is interrupted. dev: the metric of an evaluation."""
    module, gates = made or objective(options)
    rows, calls = tiny.features(), 0

    def loss(given: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        nonlocal calls
        calls += 1
        if calls == broken_at:
            raise KeyboardInterrupt
        found: tuple[Tensor, dict[str, Tensor]] = given(batch)
        return found

    settings = TrainOptions(**{**tiny.OPTIONS.dump(), "epochs": 2, **changes})
    data = TrainData(rows, tiny.plain_collate if plain else tiny.collate, [len(row["input_ids"]) for row in rows])
    result = fit(
        module, data, loss, settings, work=work, seed=seed, metric="accuracy",
        evaluate=(lambda: {"accuracy": dev(gates)}) if dev is not None else None,
    )  # fmt: skip
    return result, module, gates


def crewed(rank: int, folder: str, changes: dict[str, Any]) -> None:
    """One process of a training without anything random; writes `scores-RANK.json`."""
    _, _, gates = train(Path(folder) / "work", made=objective(SUMMED, dropout=0.0), plain=True, **changes)
    write_json(Path(folder) / f"scores-{rank}.json", {"scores": gates.scores.tolist(), "gates": gates.gates.tolist()})
