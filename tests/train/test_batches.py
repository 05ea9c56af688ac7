"""Batches: every row once, similar lengths together, the same again after a resume."""

from __future__ import annotations

import random

import pytest
import torch

from compress.train.batches import BucketSampler, EpochLoader, TrainData, bucketed
from tests.train.tiny import collate, features


def test_every_row_comes_once() -> None:
    """A dropped last batch loses the same rows of a small corpus in every epoch."""
    batches = bucketed([random.Random(1).randint(1, 50) for _ in range(1003)], 8, seed=1, epoch=0)
    assert sorted(row for batch in batches for row in batch) == list(range(1003))
    assert sorted(map(len, batches))[:2] == [3, 8]


LAST = [(33, 1, 4, 8), (34, 1, 4, 8), (35, 1, 5, 3), (2, 1, 1, 2), (68, 2, 4, 16), (70, 2, 5, 6)]


@pytest.mark.parametrize(("rows", "world", "count", "shortest"), LAST)
def test_a_last_batch_is_never_too_short_for_a_loss(rows: int, world: int, count: int, shortest: int) -> None:
    """Angles need three texts: one left over at the end of an epoch would end the job after hours."""
    sampler = BucketSampler([5] * rows, 8, seed=1, world=world, least=3)
    batches = bucketed([5] * rows, 8 * world, 1, 0, 3 * world)
    assert len(sampler) == len(list(sampler)) == len(batches) == count
    assert min(map(len, batches)) == shortest
    assert sorted(row for batch in batches for row in batch) == list(range(rows))


def test_the_shuffle_hangs_on_seed_and_epoch_only() -> None:
    """An order taken from a global generator cannot be found again after a crash."""
    lengths = [row % 17 + 1 for row in range(200)]
    assert bucketed(lengths, 8, 1, 0) == bucketed(lengths, 8, 1, 0)
    assert bucketed(lengths, 8, 1, 0) != bucketed(lengths, 8, 1, 1)
    assert bucketed(lengths, 8, 1, 0) != bucketed(lengths, 8, 2, 0)


def test_lengths_of_a_batch_are_close() -> None:
    """Random batches are padded to their one long row: most of the work would be padding."""
    draw = random.Random(3)
    lengths = [draw.randint(1, 128) for _ in range(2000)]
    batches = bucketed(lengths, 16, 1, 0)
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
    assert padded < 1.1 * sum(lengths)


@pytest.mark.parametrize("rows", [61, 49])
def test_processes_share_every_batch(rows: int) -> None:
    """A row seen twice or never, or a long half of the batch for one process while the other waits."""
    lengths = [random.Random(row).randint(1, 50) for row in range(rows)]
    parts = [[draws[0] for draws in BucketSampler(lengths, 8, 3, rank, 2)] for rank in (0, 1)]
    alone = [draws[0].rows for draws in BucketSampler(lengths, 16, 3)]
    counted = [row for part in parts for draw in part for row in draw.rows[: draw.counted]]
    assert sorted(counted) == list(range(rows))
    for one, other, whole in zip(*parts, alone, strict=True):
        assert one.of == other.of == len(whole) == one.counted + other.counted
        assert {*one.rows, *other.rows} == set(whole)
        assert len(one.rows) >= 1 and len(other.rows) >= 1
        longest = [max(lengths[row] for row in draw.rows) for draw in (one, other)]
        assert (
            abs(longest[0] - longest[1])
            <= max(lengths[row] for row in whole) - sorted(lengths[row] for row in whole)[-2 if len(whole) > 1 else -1]
        )


def test_rows_of_one_length_are_shuffled_too() -> None:
    """A sort that keeps file order inside a length would put neighbours of the file into one batch every epoch."""
    batches = bucketed([5] * 64, 8, 1, 0)
    assert all(max(batch) - min(batch) > 8 for batch in batches)


def test_what_a_collator_draws_hangs_on_the_place_in_the_run() -> None:
    """MLM masks drawn from a global generator differ after a resume, and so do the weights."""
    rows = features()
    data = TrainData(rows, collate, [len(row["input_ids"]) for row in rows])

    def epoch(number: int) -> list[torch.Tensor]:
        loader = EpochLoader(data, 8, seed=4)
        loader.set_epoch(number)
        return [share.batch["input_ids"] for share in loader]

    torch.manual_seed(1)
    first, state = epoch(0), torch.get_rng_state()
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(first, epoch(0), strict=True))
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(first, epoch(1), strict=True))
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)  # and nothing was taken from the global one
