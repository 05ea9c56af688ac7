"""Shards: files of some thousand rows, whole or absent, named by the content that they hold.

A shard's name is a digest of where its signals come from and of its rows' keys. So a job that was killed finds its
whole shards again, two processes that share the work cannot mix theirs up, and two corpora share what they have in
common.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, compress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from compress.core.artifact import sync, write_json
from compress.core.errors import JobError
from compress.core.hashing import digest, file_sha256
from compress.signals.arrays import Form
from compress.signals.batch_sizes import PER_BATCH, batch_sizes, shared_width
from compress.signals.content import Keys, batch_keys
from compress.tasks.batch import width_of
from compress.tasks.features import lengths
from compress.train.batches import Batch, Collate, Feature

SUFFIX = ".safetensors"
ROWS, TOKENS, BYTES = 8192, 1 << 20, 32 << 20  # a shard ends at the first of these: one is in memory at a time
COUNTS = ("rows", "tokens", "bytes")  # of a shard, in its note
SPARE = 64 << 20  # bytes that are left free on a disk
Batched = tuple[list[list[int]], list[Batch], list[Keys]]  # places of rows, the batches of them, their keys
Cut = Callable[[list[int], list[Feature]], Batched]


@dataclass(frozen=True)
class Part:
    """The rows of one shard in padded batches, longest first, each content once.

    keys: `[n, 2]`, in the order of the batches. lengths: tokens of each row. places: for each batch the first and the
    last of its rows in the split. features: how many it was made of.
    """

    batches: list[Batch]
    keys: Keys
    lengths: list[int]
    places: list[tuple[int, int]]
    features: int

    def name(self, identity: str) -> str:
        """The shard's name under an identity of its signals."""
        return digest([identity, self.keys.tobytes().hex()])[:32]


def parts(
    features: Iterable[Feature],
    collate: Collate,
    form: Form,
    batch_size: int,
    most: int,
    per_batch: int = PER_BATCH["cpu"],
) -> Iterator[Part]:
    """Rows cut into shards, in order; the same rows give the same shards on every process, whatever the batch size.

    The rows are those of the batches, which may be more than the features: a pair of texts can be two. most, per_batch:
    as `batch_sizes` takes them.
    """
    cut = partial(_batched, collate=collate, largest=batch_size, per_batch=per_batch, most=most)
    held: list[Feature] = []
    first, tokens = 0, 0
    for number, feature in enumerate(features):
        held.append(feature)
        tokens += lengths([feature])[0]
        if len(held) >= ROWS or tokens >= TOKENS or form.bytes_of(len(held), tokens) >= BYTES:
            yield _part(held, first, cut)
            held, tokens, first = [], 0, number + 1
    if held:
        yield _part(held, first, cut)


def _part(features: list[Feature], first: int, cut: Cut) -> Part:
    order = sorted(range(len(features)), key=lambda row: (-_longest(features[row]), row))
    groups, batches, keys = cut(order, features)
    seen: set[tuple[int, ...]] = set()
    new = [_first_times(own, seen) for own in keys]
    if not all(map(all, new)) and sum(map(len, new)) == len(order):  # full batches, not what is left of them
        once = list(compress(chain(*groups), chain(*new)))
        groups, batches, keys = cut(once, features)
        new = [[True] * len(own) for own in keys]
    part = Part([], np.empty((0, 2), dtype=np.uint64), [], [], len(features))
    kept = []
    for group, batch, own, chosen in zip(groups, batches, keys, new, strict=True):
        if any(chosen):
            rows = slice(None) if all(chosen) else torch.tensor(chosen)
            part.batches.append({name: value[rows] for name, value in batch.items() if len(value) == len(chosen)})
            part.lengths.extend(part.batches[-1]["attention_mask"].sum(-1).tolist())
            part.places.append((first + min(group), first + max(group)))
            kept.append(own[chosen])
    return replace(part, keys=np.concatenate(kept))


def _batched(
    order: list[int], features: list[Feature], *, collate: Collate, largest: int, per_batch: int, most: int
) -> Batched:
    """Features in this order, longest first, as batches of at most `largest`, with the keys of each.

    A pair that is embedded apart is two rows of its batch, and repeated texts among them leave batches of any size.
    """
    groups, start = [], 0
    widths = [width_of(_longest(features[row]), most) for row in order]
    for size in batch_sizes(widths, largest, per_batch, most):
        groups.append(order[start : start + size])
        start += size
    batches = [collate([features[row] for row in group], torch.Generator().manual_seed(0)) for group in groups]
    wide = [_widened(batch, largest, most) for batch in batches]
    return groups, wide, [batch_keys(batch) for batch in batches]


def _widened(batch: Batch, largest: int, most: int) -> Batch:
    """A batch with more padding, `shared_width` its rows. What that holds does not matter: the mask leaves it out."""
    rows, tokens = batch["attention_mask"].shape
    more = shared_width(tokens, rows, largest, most) - tokens
    of_tokens = {name for name, value in batch.items() if value.shape == (rows, tokens)}
    return {name: functional.pad(value, (0, more)) if name in of_tokens else value for name, value in batch.items()}


def _longest(feature: Feature) -> int:
    return max(len(feature["input_ids"]), len(feature.get("second") or ()))


def _first_times(keys: Keys, seen: set[tuple[int, ...]]) -> list[bool]:
    """Which keys were not seen before; all of them are now."""
    new = []
    for key in map(tuple, keys.tolist()):
        new.append(key not in seen)
        seen.add(key)
    return new


def write_shard(folder: Path, name: str, part: Part, batches: list[dict[str, tuple[Tensor, bool]]]) -> None:
    """Write the arrays of a part's batches, synced and renamed, then the note that says so.

    Raises JobError when the disk is full.
    """
    offsets = torch.tensor([0, *part.lengths]).cumsum(0)
    arrays = {key: torch.cat([batch[key][0] for batch in batches]) for key in batches[0]}
    arrays |= {"row.keys": torch.from_numpy(part.keys.view(np.int64)), "row.offsets": offsets}
    size = sum(values.nbytes for values in arrays.values())
    need_room(folder, size)
    beside, notes = folder / f".{name}-{os.getpid()}{SUFFIX}", folder / f".{name}-{os.getpid()}.json"
    try:
        save_file(arrays, beside)
        sync(beside)
        note = {"sha256": file_sha256(beside), "bytes": beside.stat().st_size, "rows": len(part.lengths)}
        os.replace(beside, folder / f"{name}{SUFFIX}")
        write_json(notes, {**note, "tokens": int(offsets[-1])})
        os.replace(notes, folder / f"{name}.json")
        sync(folder)
    except (OSError, SafetensorError) as error:  # safetensors hides an OSError in its own
        raise unwritten(folder, error) from error
    finally:
        beside.unlink(missing_ok=True)
        notes.unlink(missing_ok=True)


def unwritten(folder: Path, error: Exception) -> JobError:
    """What to say when the disk refuses."""
    return JobError(
        f"{folder}: the signals could not be written ({error}); make room and run again, whole shards are kept"
    )


def note_of(folder: Path, name: str) -> dict[str, Any] | None:
    """What was noted of a shard when it was whole, or None while it is not."""
    try:
        note = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        size = (folder / f"{name}{SUFFIX}").stat().st_size
    except (OSError, ValueError):
        return None
    if not isinstance(note, dict) or not isinstance(note.get("sha256"), str):
        return None
    counted = all(type(note.get(count)) is int for count in COUNTS)
    return note if counted and size == note["bytes"] else None


def bytes_there(folder: Path) -> int:
    """What the whole shards in a folder take, by their notes: another process may rename or drop a file meanwhile."""
    notes = (note_of(folder, path.stem) for path in folder.glob("[!.]*.json"))
    return totals(note for note in notes if note)["bytes"]


def is_whole(folder: Path, note: Mapping[str, Any], name: str) -> bool:
    """Whether a shard is there (another process may have dropped it) and its hash is the noted one."""
    try:
        return file_sha256(folder / f"{name}{SUFFIX}") == str(note["sha256"])
    except OSError:
        return False


def drop(folder: Path, name: str) -> None:
    """Remove a shard, its note first."""
    (folder / f"{name}.json").unlink(missing_ok=True)
    (folder / f"{name}{SUFFIX}").unlink(missing_ok=True)


def need_room(folder: Path, size: float) -> None:
    """Raises JobError when the disk has no room for so many bytes more."""
    free = shutil.disk_usage(folder).free
    if size + SPARE > free:
        raise JobError(
            f"{folder}: the signals need {size / 1e9:.2f} GB and {free / 1e9:.2f} GB are free; make room, keep fewer "
            f"layers, use `dtype: fp16`, or distil with `teacher_mode: live`"
        )


def totals(notes: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Rows, tokens and bytes over the notes of shards."""
    held = list(notes)
    return {name: sum(int(note[name]) for note in held) for name in COUNTS}
