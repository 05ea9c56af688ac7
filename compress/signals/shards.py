"""Shards: files of some thousand rows, whole or absent, named by the content that they hold.

A shard's name is a digest of where its signals come from and of its rows' keys. So a job that was killed finds its
whole shards again, two processes that share the work cannot mix theirs up, and two corpora share what they have in
common.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from compress.core.artifact import write_json
from compress.core.errors import JobError
from compress.core.hashing import digest, file_sha256
from compress.signals.arrays import Form
from compress.signals.content import Keys, feature_keys
from compress.train.batches import Feature

SUFFIX = ".safetensors"
ROWS, TOKENS, BYTES = 8192, 1 << 20, 32 << 20  # a shard ends at the first of these: one is in memory at a time
SPARE = 64 << 20  # bytes that are left free on a disk


@dataclass(frozen=True)
class Part:
    """The rows of one shard, longest first, each content once. places: their numbers in the split."""

    features: list[Feature]
    keys: Keys
    places: list[int]

    def name(self, identity: str) -> str:
        """The shard's name under an identity of its signals."""
        return digest([identity, self.keys.tobytes().hex()])[:32]

    def tokens(self) -> int:
        """Tokens of all rows."""
        return sum(len(row["input_ids"]) for row in self.features)


def parts(features: Iterable[Feature], form: Form) -> Iterator[Part]:
    """Rows cut into shards, in order; the same rows give the same shards on every process."""
    held: list[Feature] = []
    first, tokens = 0, 0
    for number, feature in enumerate(features):
        held.append(feature)
        tokens += len(feature["input_ids"])
        if len(held) >= ROWS or tokens >= TOKENS or form.bytes_of(len(held), tokens) >= BYTES:
            yield _part(held, first)
            held, tokens, first = [], 0, number + 1
    if held:
        yield _part(held, first)


def _part(features: list[Feature], first: int) -> Part:
    keys = feature_keys(features)
    _, once = np.unique(keys, axis=0, return_index=True)
    order = sorted(once.tolist(), key=lambda row: (-len(features[row]["input_ids"]), row))
    return Part([features[row] for row in order], keys[order], [first + row for row in order])


def write_shard(folder: Path, name: str, part: Part, batches: list[dict[str, tuple[Tensor, bool]]]) -> None:
    """Write the arrays of a part's batches, synced and renamed, then the note that says so.

    Raises JobError when the disk is full.
    """
    lengths = [len(row["input_ids"]) for row in part.features]
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    arrays = {key: torch.cat([batch[key][0] for batch in batches]) for key in batches[0]}
    arrays |= {"row.keys": torch.from_numpy(part.keys.view(np.int64)), "row.offsets": offsets}
    size = sum(values.nbytes for values in arrays.values())
    need_room(folder, size)
    beside = folder / f".{name}-{os.getpid()}{SUFFIX}"
    try:
        save_file(arrays, beside)
        sync(beside)
        note = {"sha256": file_sha256(beside), "bytes": beside.stat().st_size, "rows": len(lengths)}
        os.replace(beside, folder / f"{name}{SUFFIX}")
        write_json(folder / f".{name}-{os.getpid()}.json", {**note, "tokens": int(offsets[-1])})
        os.replace(folder / f".{name}-{os.getpid()}.json", folder / f"{name}.json")
        sync(folder)
    except (OSError, SafetensorError) as error:  # safetensors hides an OSError in its own
        raise JobError(
            f"{folder}: the signals could not be written ({error}); make room and run again, whole shards are kept"
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def note_of(folder: Path, name: str) -> dict[str, Any] | None:
    """What was noted of a shard when it was whole, or None while it is not."""
    try:
        note: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        size = (folder / f"{name}{SUFFIX}").stat().st_size
    except (OSError, ValueError):
        return None
    return note if size == note.get("bytes") else None


def is_whole(folder: Path, note: Mapping[str, Any], name: str) -> bool:
    """Whether a shard's hash is the noted one."""
    return file_sha256(folder / f"{name}{SUFFIX}") == note["sha256"]


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
    return {name: sum(int(note[name]) for note in held) for name in ("rows", "tokens", "bytes")}


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
