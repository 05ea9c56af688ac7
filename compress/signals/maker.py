"""Run a teacher over rows and store what it says, shard by shard; memory holds one shard, however many rows come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.capture import Pool, Read, Tap, Wanted
from compress.core.errors import InputError, JobError
from compress.core.hashing import digest
from compress.core.reporter import Reporter
from compress.core.trace import Trace
from compress.signals.arrays import Form, flat, form_of
from compress.signals.batch_sizes import PER_BATCH
from compress.signals.keep import Kept
from compress.signals.origin import Origin
from compress.signals.ranks import Ranks
from compress.signals.shards import Part, drop, is_whole, note_of, parts, write_shard
from compress.train.answering import answering
from compress.train.batches import Batch, Collate, Feature, draws
from compress.train.place import arithmetic, hand_back_memory

FORMAT = 3
Look = Callable[[Batch], Trace]


@dataclass(frozen=True)
class Maker:
    """Makes the shards of one teacher into `folder`.

    look: the teacher's trace of a padded batch. collate: the task's batches. form: the arrays, from `probe`. device: of
    the teacher, `cpu` or `cuda`.
    """

    folder: Path
    origin: Origin
    kept: Kept
    look: Look
    collate: Collate
    form: Form
    batch_size: int = 64
    ranks: Ranks = field(default_factory=Ranks)
    reporter: Reporter = field(default_factory=Reporter)
    device: str = "cpu"

    @property
    def identity(self) -> str:
        """Digest of what decides a shard besides its rows."""
        return identity_of(self.origin, self.kept)

    def make(self, features: Iterable[Feature], total: int, label: str) -> list[str]:
        """Names of the shards of these rows, in order, those of this process whole. Whole ones are not made again.

        Raises JobError for a teacher that gives NaN, and for a disk that is full.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        names: list[str] = []
        with self.reporter.progress(label, total) as bar:
            for number, part in enumerate(self._parts(features)):
                names.append(part.name(self.identity))
                if self.ranks.mine(number) and not self._whole(names[-1]):
                    self._write(names[-1], part)
                    hand_back_memory()  # batches of many shapes leave holes in the heap
                bar.advance(part.features)
        if not names:
            raise InputError(f"{label}: the split has no rows; leave it out of `splits`")
        return names

    def lacking(self, features: Iterable[Feature]) -> tuple[int, int]:
        """Rows and tokens whose shards are not there."""
        found = (part.lengths for part in self._parts(features) if self._note(part) is None)
        counts = [(len(lengths), sum(lengths)) for lengths in found]
        return sum(rows for rows, _ in counts), sum(tokens for _, tokens in counts)

    def _parts(self, features: Iterable[Feature]) -> Iterator[Part]:
        per_batch = PER_BATCH[self.device]
        return parts(features, self.collate, self.form, self.batch_size, self.origin.max_length, per_batch)

    def _note(self, part: Part) -> dict[str, Any] | None:
        return note_of(self.folder, part.name(self.identity))

    def _whole(self, name: str) -> bool:
        note = note_of(self.folder, name)
        if note is None or is_whole(self.folder, note, name):
            return note is not None
        self.reporter.warn(f"{self.folder}: the shard {name} is damaged; it is made again")
        drop(self.folder, name)
        return False

    def _write(self, name: str, part: Part) -> None:
        batches: list[dict[str, tuple[Tensor, bool]]] = []
        for batch, (first, last) in zip(part.batches, part.places, strict=True):
            self.ranks.breathe(self.folder)
            try:
                batches.append(flat(self.look(batch), self.kept))
            except JobError as error:
                raise type(error)(f"{error} (among rows {first} to {last})") from error
        write_shard(self.folder, name, part, batches)


def identity_of(origin: Origin, kept: Kept) -> str:
    """Digest of where signals come from and what is kept: what decides a shard besides its rows."""
    return digest({"format": FORMAT, "origin": origin.as_json(), "kept": kept.as_json()})


def probe(look: Look, collate: Collate, features: Sequence[Feature], kept: Kept, fill: float = 0.0) -> Form:
    """The form of the arrays, from the shortest and the longest row. fill: the task's.

    Raises InputError when there are no rows, and for a task that draws its inputs anew each time.
    """
    if not features:
        raise InputError("there are no rows to label: the split is empty")
    if draws(collate, features):
        raise InputError(
            "this task hides other tokens in every batch, so no row comes twice and nothing stored would be found; "
            "label a corpus of another task (its `unlabeled` split, say), or use `teacher_mode: live`"
        )
    ends = [choose(features, key=lambda row: len(row["input_ids"])) for choose in (min, max)]
    return form_of(look(collate(ends, torch.Generator().manual_seed(0))), kept, fill)


@contextmanager
def looking(
    model: PreTrainedModel,
    wanted: Wanted,
    *,
    read: Read | None,
    pool: Pool | None,
    device: torch.device,
    precision: str,
    longest: int,
) -> Iterator[Look]:
    """A model in eval mode as a `Look` at texts of at most `longest` tokens, on a device and in an arithmetic.

    Its hooks are off again afterwards, its weights are left as `answering` leaves them.
    """
    nn.Module.to(model, device).train(False)
    with answering(model, precision, device, longest), Tap(model, wanted, read=read, pool=pool) as tap:

        def look(batch: Batch) -> Trace:
            here = {name: value.to(device) for name, value in batch.items()}
            with torch.no_grad(), arithmetic(precision, device):
                return tap(here)

        yield look
