"""Batches of similar length, drawn the same way for the same (seed, epoch, batch), so that a resumed run sees the same.

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

POOL = 50

Feature = dict[str, Any]
Batch = dict[str, Tensor]
Collate = Callable[[list[Feature], torch.Generator], Batch]


@dataclass(frozen=True)
class TrainData:
    """Tokenised examples, how to pad a list of them into a batch, and their lengths in tokens."""

    features: Sequence[Feature]
    collate: Collate
    lengths: Sequence[int]


@dataclass(frozen=True)
class Draw:
    """One batch to be made: which rows, and the place in the run that seeds what the collator draws."""

    epoch: int
    index: int
    rows: tuple[int, ...]


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed from a few parts, the same on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def bucketed(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[tuple[int, ...]]:
    """All rows of one epoch in batches of similar length; every row once, the last batch may be short.

    Rows are shuffled, pools of 50 batches are sorted by length, cut, and the batches shuffled.
    """
    draw = np.random.default_rng(derived_seed("batches", seed, epoch))
    order = draw.permutation(len(lengths))
    size = np.asarray(lengths)[order]
    pools = np.arange(len(order)) // (POOL * batch_size)
    order = order[np.lexsort((size, pools))]
    batches = [tuple(order[at : at + batch_size].tolist()) for at in range(0, len(order), batch_size)]
    return [batches[place] for place in draw.permutation(len(batches))]


class BucketSampler(Sampler[list[Draw]]):
    """A batch sampler that yields one `Draw` per batch; `set_epoch` picks the shuffle."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Shuffle for this epoch from the next pass on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        for index, rows in enumerate(bucketed(self.lengths, self.batch_size, self.seed, self.epoch)):
            yield [Draw(self.epoch, index, rows)]


class Batches(Dataset[Batch]):
    """Makes the batch of a `Draw`, with a generator seeded by its place in the run."""

    def __init__(self, data: TrainData, seed: int) -> None:
        self.data = data
        self.seed = seed

    def __len__(self) -> int:
        return len(self.data.features)

    def __getitem__(self, draw: Draw) -> Batch:
        generator = torch.Generator().manual_seed(derived_seed("collate", self.seed, draw.epoch, draw.index))
        return self.data.collate([self.data.features[row] for row in draw.rows], generator)


class EpochLoader(DataLoader[Batch]):
    """A loader in this process whose sampler is told the epoch; draws nothing from torch's global generator."""

    def __init__(self, data: TrainData, batch_size: int, seed: int) -> None:
        self.bucket_sampler = BucketSampler(data.lengths, batch_size, seed)
        super().__init__(
            Batches(data, seed),
            batch_sampler=self.bucket_sampler,
            collate_fn=_only,
            generator=torch.Generator().manual_seed(seed % (1 << 63)),
        )

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch."""
        self.bucket_sampler.set_epoch(epoch)


def _only(batches: list[Batch]) -> Batch:
    return batches[0]
