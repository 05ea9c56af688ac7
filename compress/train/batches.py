"""Batches of similar length, drawn the same way for the same (seed, epoch, batch), so that a resumed run sees the same.

Rows of one group stay together when there are groups (`grouped.py`).
Several processes draw one batch together, `batch_size` rows for each of them, and take every row of it once.
Length bucketing: padding every SST-2 batch to 128 tokens costs several times the work of its 13 real tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from compress.train.grouped import Packed

POOL = 50

Feature = dict[str, Any]
Batch = dict[str, Tensor]
Collate = Callable[[list[Feature], torch.Generator], Batch]


@dataclass(frozen=True)
class TrainData:
    """Tokenised examples, how to pad a list of them into a batch, and their lengths in tokens.

    least: the fewest examples of a batch, for losses that compare them with each other. groups: the group of each
    example, for losses that compare examples of one group; None: examples stand alone.
    """

    features: Sequence[Feature]
    collate: Collate
    lengths: Sequence[int]
    least: int = 1
    groups: Sequence[str] | None = None

    def batches(self, batch_size: int, seed: int, epoch: int) -> list[tuple[int, ...]]:
        """The rows of every batch of an epoch, as one process takes them."""
        sampler = BucketSampler(self.lengths, batch_size, seed, least=self.least, groups=self.groups)
        sampler.set_epoch(epoch)
        return [draw.rows for (draw,) in sampler]


@dataclass(frozen=True)
class Draw:
    """One batch to be made: which rows, and the place in the run that seeds what the collator draws.

    counted: rows that weigh in this process. of: rows of the batch in all processes.
    """

    epoch: int
    index: int
    rows: tuple[int, ...]
    counted: int
    of: int


@dataclass(frozen=True)
class Share:
    """What one process has of a batch. `rows` of its rows count, of the `of` that the batch has in all processes.

    A last batch with fewer rows than processes leaves some with a borrowed row that does not count.
    """

    batch: Batch
    rows: int
    of: int


def draws(collate: Collate, features: Sequence[Feature]) -> bool:
    """Whether batches of the same rows differ in their inputs, as those of masked-token guessing do."""
    one, two = (collate(list(features[:8]), torch.Generator().manual_seed(seed))["input_ids"] for seed in (1, 2))
    return not torch.equal(one, two)


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed from a few parts, the same on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def bucketed(lengths: Sequence[int], batch_size: int, seed: int, epoch: int, least: int = 1) -> list[tuple[int, ...]]:
    """All rows of one epoch in batches of similar length; every row once.

    The last batch may be short; shorter than `least` it joins the one before. Rows are shuffled, pools of 50 batches
    are sorted by length, cut, and the batches shuffled.
    """
    draw = np.random.default_rng(derived_seed("batches", seed, epoch))
    order = draw.permutation(len(lengths))
    size = np.asarray(lengths)[order]
    pools = np.arange(len(order)) // (POOL * batch_size)
    order = order[np.lexsort((size, pools))]
    batches = [tuple(order[at : at + batch_size].tolist()) for at in range(0, len(order), batch_size)]
    if len(batches) > 1 and len(batches[-1]) < least:
        batches[-2:] = [batches[-2] + batches[-1]]
    return [batches[place] for place in draw.permutation(len(batches))]


class BucketSampler(Sampler[list[Draw]]):
    """A batch sampler that yields one `Draw` per batch; `set_epoch` picks the shuffle.

    batch_size: rows for each of `world` processes, of which this is number `rank`; least: the fewest for each.
    groups: the group of each row; then rows of one group come to one process in one batch.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        least: int = 1,
        groups: Sequence[str] | None = None,
    ) -> None:
        self.lengths = lengths
        self.batch_size = batch_size * world
        self.least = least * world if least > 1 else 1  # a process without a row of its own weighs nothing
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        self._packed = None if groups is None else Packed(groups, lengths, batch_size, world, self.least)

    def set_epoch(self, epoch: int) -> None:
        """Shuffle for this epoch from the next pass on."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self._packed is not None:
            return len(self._packed)
        whole, rest = divmod(len(self.lengths), self.batch_size)
        return whole + bool(rest and not (whole and rest < self.least))

    def __iter__(self) -> Iterator[list[Draw]]:
        if self._packed is not None:
            yield from self._whole_groups(self._packed)
            return
        for index, rows in enumerate(bucketed(self.lengths, self.batch_size, self.seed, self.epoch, self.least)):
            # Rows of a batch stand by length, so every `world`-th one gives all processes the same lengths.
            mine = rows[self.rank :: self.world]
            yield [Draw(self.epoch, index, mine or rows[:1], len(mine), len(rows))]

    def _whole_groups(self, packed: Packed) -> Iterator[list[Draw]]:
        draw = np.random.default_rng(derived_seed("batches", self.seed, self.epoch))
        for index, groups in enumerate(packed.batches(draw, POOL)):
            shares = packed.shared(groups)
            mine = shares[self.rank]
            # A process with nothing borrows a whole share, since one row of a group can be compared with none.
            yield [Draw(self.epoch, index, mine or max(shares, key=len), len(mine), sum(map(len, shares)))]


class Batches(Dataset[Share]):
    """Makes the batch of a `Draw`, with a generator seeded by its place in the run (and by the process)."""

    def __init__(self, data: TrainData, seed: int, rank: int = 0) -> None:
        self.data = data
        self.seed = seed
        self.process = (rank,) if rank else ()

    def __len__(self) -> int:
        return len(self.data.features)

    def __getitem__(self, draw: Draw) -> Share:
        seed = derived_seed("collate", self.seed, draw.epoch, draw.index, *self.process)
        rows = [self.data.features[row] for row in draw.rows]
        return Share(self.data.collate(rows, torch.Generator().manual_seed(seed)), draw.counted, draw.of)


class EpochLoader(DataLoader[Share]):
    """A loader in this process whose sampler is told the epoch; draws nothing from torch's global generator."""

    def __init__(self, data: TrainData, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.bucket_sampler = BucketSampler(data.lengths, batch_size, seed, rank, world, data.least, data.groups)
        super().__init__(
            Batches(data, seed, rank),
            batch_sampler=self.bucket_sampler,
            collate_fn=_only,
            generator=torch.Generator().manual_seed(seed % (1 << 63)),
        )

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch."""
        self.bucket_sampler.set_epoch(epoch)


def _only(batches: list[Share]) -> Share:
    return batches[0]
