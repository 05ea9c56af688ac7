"""AdamW by rows: the same weights as AdamW over the whole table, for rows that come often, seldom and never."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compress.train import rows
from compress.train.batches import TrainData
from compress.train.checkpoint import weights_of
from compress.train.fit import fit
from compress.train.options import TrainOptions
from compress.train.rows import RowAdamW, read_by_rows, row_embeddings
from tests.train import tiny

WORDS, WIDTH, STEPS = 50, 4, 120


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of any size are moved by rows."""
    monkeypatch.setattr(rows, "SMALLEST", 1)


def _ids() -> Iterator[Tensor]:
    """Ids that are mostly small; the last five never come."""
    draw = torch.Generator().manual_seed(3)
    for _ in range(STEPS):
        yield (torch.rand(6, generator=draw) ** 3 * (WORDS - 5)).long()


def _trained(by_rows: bool, scale: float | None = None, **group: Any) -> tuple[Tensor, Tensor]:
    """A table before and after a training with decay, a falling rate and gradients that grow with the ids."""
    torch.manual_seed(1)
    table, head = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, 1)
    before = table.weight.detach().clone()
    groups = [{"params": [table.weight, *head.parameters()], "lr": 1e-2, **group}]
    optimizer = RowAdamW(groups, [table.weight]) if by_rows else torch.optim.AdamW(groups, fused=True)
    if scale is not None:
        optimizer.grad_scale = torch.tensor(scale)  # type: ignore[union-attr]
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    reading = read_by_rows([table], lambda: optimizer) if by_rows else nullcontext()  # type: ignore[arg-type,return-value]
    with reading:
        for ids in _ids():
            (head(table(ids)).sin().pow(2).sum() + table(ids).mean()).backward()
            optimizer.step()
            optimizer.zero_grad()
            falling.step()
    if isinstance(optimizer, RowAdamW):
        optimizer.settle()
    return before, table.weight.detach()


@pytest.mark.parametrize("group", [{"weight_decay": 0.1}, {"weight_decay": 0.0}, {"betas": (0.8, 0.95)}])
def test_it_is_adamw(group: dict[str, Any]) -> None:
    """A lazy Adam, which forgets decay and momentum of rows that are not in the batch, is another optimizer."""
    before, whole = _trained(by_rows=False, **group)
    _, by_rows = _trained(by_rows=True, **group)
    assert float((whole - before).abs().max()) > 0.2
    assert torch.allclose(by_rows, whole, atol=2e-4)
    assert torch.allclose(by_rows[-5:], whole[-5:], atol=1e-6)  # rows that never came: decay alone


def test_gradients_are_divided_as_the_fused_kernel_divides_them() -> None:
    """A clip that reaches all weights but the embedding, where most of the gradient is."""
    _, whole = _trained(by_rows=False, scale=1e6, eps=1e-6)
    _, by_rows = _trained(by_rows=True, scale=1e6, eps=1e-6)
    _, unscaled = _trained(by_rows=True, eps=1e-6)
    assert torch.allclose(by_rows, whole, atol=2e-3) and not torch.allclose(by_rows, unscaled, atol=1e-2)


def test_one_missed_step_by_hand() -> None:
    """w <- w (1 - lr wd) - lr m b1 / (1 - b1^2) / (sqrt(v b2 / (1 - b2^2)) + eps) with m, v of the first step."""
    table = nn.Embedding(2, 1)
    with torch.no_grad():
        table.weight.fill_(1.0)
    optimizer = RowAdamW([{"params": [table.weight], "lr": 0.1, "weight_decay": 0.5}], [table.weight])
    with read_by_rows([table], lambda: optimizer):
        for word in (0, 1):
            table(torch.tensor([word])).mul(2.0).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        assert float(table.weight[0]) == pytest.approx(0.95 - 0.1)
        optimizer.settle()
    mean, square = 0.1 * 2.0 * 0.9 / (1 - 0.9**2), 0.001 * 4.0 * 0.999 / (1 - 0.999**2)
    assert float(table.weight[0]) == pytest.approx(0.85 * 0.95 - 0.1 * mean / square**0.5, rel=1e-5)


def test_only_tables_that_nothing_else_reads() -> None:
    """An output layer tied to the embedding reads every row in every step, up to date or not."""
    tied = nn.ModuleDict({"words": nn.Embedding(9, 4), "out": nn.Linear(4, 9)})
    tied["out"].weight = tied["words"].weight
    frozen = nn.Embedding(9, 4).requires_grad_(False)
    free = nn.Embedding(9, 4)
    assert row_embeddings(nn.ModuleList([tied, frozen, free, nn.Embedding(9, 4, max_norm=1.0)])) == [free]


def test_small_tables_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A position table of a few rows is quicker as a whole."""
    monkeypatch.setattr(rows, "SMALLEST", 37)
    assert row_embeddings(nn.ModuleList([nn.Embedding(9, 4)])) == []


def test_a_training_is_the_same_and_leaves_a_plain_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dev that judges, or a folder that gets, rows which are behind."""
    made = tiny.features(40)
    data = TrainData(made, tiny.plain_collate, [len(row["input_ids"]) for row in made])
    options = TrainOptions(**{**tiny.OPTIONS.dump(), "weight_decay": 0.1, "max_grad_norm": 0.1, "epochs": 3})
    seen: dict[str, list[Tensor]] = {}
    for name in ("rows", "whole"):
        monkeypatch.setattr(rows, "SMALLEST", 1 if name == "rows" else 1 << 30)
        module = tiny.objective()
        table = module.student.bert.embeddings.word_embeddings
        seen[name] = []

        def evaluate(name: str = name, table: nn.Embedding = table) -> dict[str, float]:
            seen[name].append(table.weight.detach().clone())
            return {"accuracy": float(len(seen[name]))}

        fit(module, data, tiny.loss, options, work=tmp_path / name, seed=1, evaluate=evaluate, metric="accuracy")
        seen[name].append(weights_of(module)["student.bert.embeddings.word_embeddings.weight"].clone())
        assert not table.sparse and not table._forward_pre_hooks
    assert len(seen["rows"]) == len(seen["whole"]) == 4
    for by_rows, whole in zip(seen["rows"], seen["whole"], strict=True):
        assert torch.allclose(by_rows, whole, atol=1e-5)
