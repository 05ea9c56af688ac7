"""The Signals artifact, and any folder of shards with an index: signals of rows, read where they lie."""

from __future__ import annotations

import json
import os
import shutil
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compress.core.artifact import read_manifest, verify, write_json
from compress.core.errors import InputError
from compress.core.hashing import digest, file_sha256
from compress.signals.arrays import TOP, Form, expanded
from compress.signals.content import Keys
from compress.signals.index import PAGES, Index, write_index
from compress.signals.keep import Kept
from compress.signals.mapped import REMEDY, Mapped, tensor
from compress.signals.origin import Origin
from compress.signals.shards import SUFFIX, note_of, totals, unwritten

INDEX = "index.safetensors"
SHARDS = "shards.json"
OPEN = 1024  # shards mapped at a time
TOUCHED = 8 << 20  # bytes of mapped pages after which the files that they are of hand theirs back
PAGE = 1 << 16  # the kernel maps a few pages around each one that is touched


@dataclass(frozen=True)
class Facts:
    """What a store says of itself. depth, width: the teacher's layers and hidden size."""

    origin: Origin
    kept: Kept
    form: Form
    depth: int
    width: int

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, for a manifest's `about`."""
        return {
            "origin": self.origin.as_json(),
            "kept": self.kept.as_json(),
            "form": asdict(self.form),
            "depth": self.depth,
            "width": self.width,
        }

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Facts:
        """What `as_json` gave."""
        form, origin = Form(**held["form"]), Origin(**held["origin"])
        return cls(origin, Kept.from_json(held["kept"]), form, int(held["depth"]), int(held["width"]))


class Signals:
    """An opened store. `find` rows by their keys, then `read` arrays of them; nothing is held between calls."""

    def __init__(self, folder: Path, names: Sequence[str], index: Path, facts: Facts) -> None:
        self.folder = folder
        self.names = list(names)
        self.facts = facts
        self._index = Index(index)
        self._open: OrderedDict[int, Mapped] = OrderedDict()
        self._touched = 0
        self._warm: set[Mapped] = set()

    @classmethod
    def open(cls, folder: str | Path, *, hashed: bool = True) -> Signals:
        """Open an artifact that `label` wrote. hashed: check every file against the manifest first (reads it whole).

        Raises InputError for another artifact, and for a damaged one.
        """
        folder = Path(folder)
        manifest = verify(folder, "Signals") if hashed else read_manifest(folder, "Signals")
        about = manifest.get("about", {})
        try:
            facts, names = Facts.from_json(about), read_names(folder)
        except (KeyError, TypeError) as error:
            raise InputError(f"{folder}: its manifest lacks {error}; run its `label` step again") from error
        return cls(folder, names, folder / INDEX, facts)

    def __len__(self) -> int:
        return len(self._index)

    def find(self, keys: Keys) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Places `[n, 2]` of rows, -1 for those that are not there."""
        self._warm.add(self._index.mapped)
        self._account(len(keys) * PAGES * PAGE)
        places = self._index.find(keys)
        for (shard, row), key in zip(places.tolist(), keys, strict=True):
            # An index that points at another row would give a text its neighbour's signals, so it is not trusted.
            if shard >= 0 and not self._holds(shard, row, key):
                raise InputError(f"{self.folder}: its index points at a wrong row; {REMEDY}")
        return places

    def read(self, places: np.ndarray[Any, np.dtype[np.int64]], names: Sequence[str]) -> dict[str, Tensor]:
        """Arrays of found rows: by row `[n, ...]`, or by token `[t, ...]`, the rows one after the other; float32.

        `logits` of a store of the largest ones are filled up with the rest's mass, evenly.
        """
        wanted = list(dict.fromkeys(held for name in names for held in self._held(name)))
        pieces: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in wanted}
        bits: dict[str, str] = {}
        for shard, row in places.tolist():
            mapped = self._shard(shard)
            first, last = mapped.arrays["row.offsets"][row : row + 2].tolist()
            for name in wanted:
                part = slice(first, last) if name in self.facts.form.by_token else slice(row, row + 1)
                pieces[name].append(mapped.arrays[name][part])
                bits[name] = mapped.bits[name]
        self._account(sum(max(PAGE, piece.nbytes) for held in pieces.values() for piece in held))
        found = {name: tensor(np.concatenate(held), bits[name]) for name, held in pieces.items() if held}
        if found and "logits" in names and self.facts.kept.top is not None:
            values, index, rest = (found.pop(name) for name in TOP)
            found["logits"] = expanded(values, index, rest, self.facts.form.outputs)
        return found

    def by_token(self, name: str) -> bool:
        """Whether an array has an entry for each token."""
        return self._held(name)[0] in self.facts.form.by_token

    def shape(self, name: str) -> list[int]:
        """Shape of one entry of an array."""
        if name == "logits":
            return [self.facts.form.outputs]
        return self.facts.form.shapes[name]

    def _holds(self, shard: int, row: int, key: Keys) -> bool:
        keys = self._shard(shard).arrays["row.keys"] if shard < len(self.names) else ()
        return row < len(keys) and bool((keys[row].view(np.uint64) == key).all())

    def _held(self, name: str) -> Sequence[str]:
        return TOP if name == "logits" and self.facts.kept.top is not None else (name,)

    def _shard(self, number: int) -> Mapped:
        held = self._open.pop(number, None) or Mapped(self.folder / f"{self.names[number]}{SUFFIX}")
        self._open[number] = held
        self._warm.add(held)
        if len(self._open) > OPEN:
            self._open.popitem(last=False)
        return held

    def _account(self, size: int) -> None:
        """Hand mapped pages back now and then, so that an epoch does not collect the whole store in memory."""
        self._touched += size
        if self._touched > TOUCHED:
            self._touched = 0
            while self._warm:
                self._warm.pop().release()


def read_names(folder: Path) -> list[str]:
    """The shards of an artifact in order. Raises InputError when the list is damaged."""
    try:
        names = json.loads((folder / SHARDS).read_text(encoding="utf-8"))["shards"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / SHARDS}: damaged ({error}); run its `label` step again") from error
    return [str(name) for name in names]


def complete(work: Path, names: Sequence[str], out: Path) -> dict[str, int]:
    """Put whole shards of `work` into an artifact's folder, with index and list; rows, tokens and bytes of them.

    Files are linked where the disk allows it: a kill before the artifact is whole must not cost the shards. Raises
    JobError when the disk is full.
    """
    names = list(dict.fromkeys(names))
    try:
        for name in names:
            try:
                os.link(work / f"{name}{SUFFIX}", out / f"{name}{SUFFIX}")
            except OSError:
                shutil.copy2(work / f"{name}{SUFFIX}", out / f"{name}{SUFFIX}")
        write_index(out, names, out / INDEX)
        write_json(out / SHARDS, {"shards": names})
    except OSError as error:
        raise unwritten(out, error) from error
    return totals(note for name in names if (note := note_of(work, name)) is not None)


def open_shards(folder: Path, names: Sequence[str], facts: Facts) -> Signals:
    """A store over shards of a shared folder, whose index is made once for the same rows, and again when damaged."""
    names = list(dict.fromkeys(names))
    index = folder / f"index-{digest(names)[:32]}{SUFFIX}"
    noted = index.with_suffix(".sha256")
    try:
        whole = file_sha256(index) == noted.read_text(encoding="utf-8")
    except (OSError, ValueError):
        whole = False
    if not whole:
        write_index(folder, names, index)
        beside = noted.with_name(f".{noted.name}-{os.getpid()}")
        beside.write_text(file_sha256(index), encoding="utf-8")
        os.replace(beside, noted)
    return Signals(folder, names, index, facts)


def empty(signals: Signals, name: str, rows: int, tokens: int) -> Tensor:
    """A padded array of a batch before its rows are put in: `[b, ...]`, or by token `[b, s, ...]`."""
    lead = (rows, tokens) if signals.by_token(name) else (rows,)
    return torch.full((*lead, *signals.shape(name)), signals.facts.form.fill if name == "logits" else 0.0)
