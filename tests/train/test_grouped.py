"""Batches of whole groups: no loss on rankings may see half of a query's candidates."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from compress.train.batches import POOL, BucketSampler, Draw, EpochLoader, TrainData
from compress.train.grouped import Packed
from tests.train import crew, tiny


def rows_of(sizes: list[int], seed: int = 1) -> tuple[list[str], list[int]]:
    """Groups of these sizes whose rows stand anywhere, and lengths that are alike inside a group."""
    draw = random.Random(seed)
    named = [(f"q{number}", draw.randint(3, 60)) for number in range(len(sizes))]
    rows = [(name, length + draw.randint(0, 2)) for (name, length), size in zip(named, sizes, strict=True)
            for _ in range(size)]  # fmt: skip
    draw.shuffle(rows)
    return [name for name, _ in rows], [length for _, length in rows]


def drawn(groups: list[str], lengths: list[int], epoch: int = 0, **options: Any) -> list[Draw]:
    """One epoch of a sampler with 8 rows a batch."""
    sampler = BucketSampler(lengths, options.pop("batch_size", 8), 3, groups=groups, **options)
    sampler.set_epoch(epoch)
    found = [draw for (draw,) in sampler]
    assert len(found) == len(sampler)
    return found


MIXED = random.Random(5).choices(range(1, 9), k=150)


@pytest.mark.parametrize("sizes", [[4] * 90, MIXED, [1] * 30 + [8] * 9 + [5] * 20], ids=["equal", "mixed", "few"])
def test_groups_stay_whole_in_every_epoch(sizes: list[int]) -> None:
    """Prevents a query whose candidates stand in two batches, and a row that comes twice or never."""
    groups, lengths = rows_of(sizes)
    for epoch in range(3):
        batches = drawn(groups, lengths, epoch)
        assert sorted(row for batch in batches for row in batch.rows) == list(range(len(groups)))
        assert all(len(batch.rows) <= 8 for batch in batches)
        where = {(groups[row], batch.index) for batch in batches for row in batch.rows}
        assert len(where) == len(sizes)


def test_every_epoch_has_as_many_batches_in_another_order() -> None:
    """Prevents a schedule and a resumed run that count on another number of batches than an epoch has."""
    groups, lengths = rows_of(MIXED)
    epochs = [drawn(groups, lengths, epoch) for epoch in range(4)]
    assert len({len(batches) for batches in epochs}) == 1
    assert [batch.rows for batch in epochs[0]] != [batch.rows for batch in epochs[1]]
    assert epochs[2] == drawn(groups, lengths, 2)  # what a resumed run draws
    assert len(epochs[0]) <= 1.1 * sum(MIXED) / 8  # and few are half empty


def test_lengths_of_a_batch_are_close() -> None:
    """Prevents batches that are padded to one long group: most of the work would be padding."""
    groups, lengths = rows_of(random.Random(2).choices((2, 4), k=POOL * 8))
    batches = drawn(groups, lengths, batch_size=16)
    padded = sum(len(batch.rows) * max(lengths[row] for row in batch.rows) for batch in batches)
    assert padded < 1.25 * sum(lengths)


def test_a_group_larger_than_a_batch_is_cut_anew_in_every_epoch() -> None:
    """Prevents candidates that never meet, and a batch that does not fit in memory."""
    groups, lengths = rows_of([21, 3, 3])
    parts = []
    for epoch in range(2):
        batches = drawn(groups, lengths, epoch)
        assert sorted(row for batch in batches for row in batch.rows) == list(range(27))
        found = [frozenset(row for row in batch.rows if groups[row] == "q0") for batch in batches]
        assert sorted(map(len, filter(None, found))) == [7, 7, 7] and max(len(b.rows) for b in batches) <= 8
        parts.append(set(found))
    assert parts[0] != parts[1]


@pytest.mark.parametrize("sizes", [[2] * 41, MIXED, [8, 8, 8], [3]], ids=["pairs", "mixed", "large", "one"])
def test_processes_take_whole_groups_of_the_same_batches(sizes: list[int]) -> None:
    """Prevents a group that is torn between two processes, and other batches than one process would take."""
    groups, lengths = rows_of(sizes)
    parts = [drawn(groups, lengths, rank=rank, world=2) for rank in (0, 1)]
    alone = drawn(groups, lengths, batch_size=16)
    counted = [row for part in parts for draw in part for row in draw.rows[: draw.counted]]
    assert sorted(counted) == list(range(len(groups)))
    for one, other, whole in zip(*parts, alone, strict=True):
        assert one.of == other.of == len(whole.rows) == one.counted + other.counted
        mine, theirs = ({groups[row] for row in draw.rows[: draw.counted]} for draw in (one, other))
        assert not mine & theirs and mine | theirs == {groups[row] for row in whole.rows}
        assert all(len(draw.rows) == draw.counted or draw.counted == 0 for draw in (one, other))
        for draw in (one, other):  # what is borrowed is whole too: one row of a group is compared with none
            sizes_here = Counter(groups[row] for row in draw.rows)
            assert all(sizes_here[name] == groups.count(name) for name in sizes_here)


def test_no_batch_is_too_short_for_the_other_losses() -> None:
    """Prevents an angle between two texts at the end of an epoch, in any process."""
    groups, lengths = rows_of([7] * 5 + [2])
    assert min(len(draw.rows) for draw in drawn(groups, lengths, least=3)) >= 3
    for rank in (0, 1):
        assert min(len(draw.rows) for draw in drawn(groups, lengths, least=3, rank=rank, world=2)) >= 3


def test_the_first_batch_is_one_that_the_training_draws() -> None:
    """Prevents a look at terms on a batch that tears groups, whose value says nothing of the training's."""
    made = tiny.features(24)
    lengths = [len(row["input_ids"]) for row in made]
    groups = [f"q{row % 6}" for row in range(24)]
    data = TrainData(made, tiny.plain_collate, lengths, groups=groups)
    loader = EpochLoader(data, 8, seed=4)
    assert data.batches(8, 4, 0) == [draw.rows for (draw,) in loader.bucket_sampler]
    assert all(set(Counter(groups[row] for row in rows).values()) == {4} for rows in data.batches(8, 4, 0))
    assert [len(share.batch["labels"]) for share in loader] == [8, 8, 8]


def test_packing_is_as_tight_as_it_can_be_here() -> None:
    """Prevents half-empty batches: 6 + 2, 5 + 3 and 4 + 4 fill three of 8."""
    groups = [name for name, size in zip("abcdef", (4, 6, 3, 2, 5, 4), strict=True) for _ in range(size)]
    packed = Packed(groups, [1] * len(groups), 8)
    sizes = [sorted(map(len, batch)) for batch in packed.batches(np.random.default_rng(0), POOL)]
    assert len(packed) == 3 and sorted(sizes) == [[2, 6], [3, 5], [4, 4]]


CHANGES: dict[str, Any] = {"epochs": 2.0, "checkpoint_steps": 0, "accumulate": 2, "max_grad_norm": 0.0}


def told(folder: Path, rank: int = 0) -> list[dict[str, Any]]:
    """The losses of a training by update."""
    history: list[dict[str, Any]] = json.loads((folder / f"told-{rank}.json").read_text(encoding="utf-8"))["history"]
    return history


@pytest.mark.slow
def test_two_processes_are_one_with_the_double_batch(tmp_path: Path) -> None:
    """Prevents torn or doubled groups under torchrun, which bend the curve; the last batch has three groups for two."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    crew.grouped_training(0, str(tmp_path / "one"), 60, {**CHANGES, "batch_size": 16})
    started = crew.start(2, crew.grouped_training, str(tmp_path / "two"), 60, {**CHANGES, "batch_size": 8})
    assert crew.finish(started) == [0, 0]
    alone, both = told(tmp_path / "one"), [told(tmp_path / "two", rank) for rank in (0, 1)]
    assert len(alone) == len(both[0]) >= 4 and both[0] == both[1]
    for mine, theirs in zip(both[0], alone, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-5)


def test_an_interrupted_run_goes_on_with_the_same_groups(tmp_path: Path) -> None:
    """Prevents a resumed run that draws other groups, or cuts large ones otherwise: 15 groups of 4 in batches of 3."""
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    changes = {**CHANGES, "batch_size": 3, "epochs": 1.0, "checkpoint_steps": 4}
    crew.grouped_training(0, str(tmp_path / "whole"), 60, changes)
    calls = 0

    def breaking(module: nn.Module, batch: tiny.Batch) -> Any:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise KeyboardInterrupt
        return crew.margin_loss(module, batch)

    with pytest.raises(KeyboardInterrupt):
        crew.grouped_training(0, str(tmp_path / "broken"), 60, changes, breaking)
    crew.grouped_training(0, str(tmp_path / "broken"), 60, changes)
    weights = [load_file(tmp_path / name / "weights-0") for name in ("whole", "broken")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert told(tmp_path / "whole") == told(tmp_path / "broken")
