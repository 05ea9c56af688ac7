"""The index of a store: row key to shard and row, sorted, on disk. Made and searched without holding it in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from compress.core.artifact import sync
from compress.signals.content import Keys
from compress.signals.mapped import Mapped
from compress.signals.shards import SUFFIX

BUCKET = 1 << 16  # entries that are sorted in memory at a time
_ENTRY = np.dtype([("high", "<u8"), ("low", "<u8"), ("shard", "<u4"), ("row", "<u4")])
PAGES = 8  # pages that a binary search may touch for each key, for the account of mapped memory


class Index:
    """Finds rows by key in a file that `write_index` made."""

    def __init__(self, path: Path) -> None:
        self.mapped = Mapped(path)
        self._high, self._low = self.mapped.arrays["high"], self.mapped.arrays["low"]
        self._place = self.mapped.arrays["place"]

    def __len__(self) -> int:
        return len(self._high)

    def find(self, keys: Keys) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Shard and row `[n, 2]` of each key; -1 for a row that is not there."""
        found = np.full((len(keys), 2), -1, dtype=np.int64)
        for number, start in enumerate(np.searchsorted(self._high, keys[:, 0], side="left").tolist()):
            place = start
            while place < len(self._high) and self._high[place] == keys[number, 0]:
                if self._low[place] == keys[number, 1]:
                    found[number] = self._place[place]
                    break
                place += 1
        return found


def write_index(folder: Path, names: Sequence[str], path: Path) -> int:
    """Write the index of the shards `names` in `folder` to `path`, whole or not at all; returns its entries.

    An external sort: each shard is a sorted run; a run's share of one range of keys is one slice, and the slices of a
    range are sorted together. Memory holds one range, and a few bytes for each shard and range.
    """
    runs = path.with_name(f".{path.name}.runs-{os.getpid()}")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with runs.open("w+b") as spool:
            counts = [_spool(folder, name, number, spool) for number, name in enumerate(names)]
            entries = sum(counts)
            with beside.open("wb") as stream:
                _merge(spool, counts, entries, stream)
        sync(beside)
        os.replace(beside, path)
        sync(path.parent)
    finally:
        runs.unlink(missing_ok=True)
        beside.unlink(missing_ok=True)
    return entries


def _spool(folder: Path, name: str, number: int, spool: IO[bytes]) -> int:
    """Append one shard's entries, sorted; how many."""
    shard = Mapped(folder / f"{name}{SUFFIX}")
    keys = shard.arrays["row.keys"].view(np.uint64)
    run = np.empty(len(keys), dtype=_ENTRY)
    run["high"], run["low"], run["shard"], run["row"] = keys[:, 0], keys[:, 1], number, np.arange(len(keys))
    run.sort(order=("high", "low"))
    spool.write(run.tobytes())
    return len(run)


def _merge(spool: IO[bytes], counts: Sequence[int], entries: int, stream: IO[bytes]) -> None:
    """Range by range into the three arrays of a safetensors file."""
    buckets = 1 << max(0, int(entries - 1).bit_length() - BUCKET.bit_length() + 1)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    edges = (np.arange(1, buckets, dtype=np.uint64) << np.uint64(64 - (buckets.bit_length() - 1))).astype(np.uint64)
    bounds = np.empty((len(counts), buckets + 1), dtype=np.int64)
    for number, count in enumerate(counts):
        run = _read(spool, int(starts[number]), count)
        inner = np.searchsorted(np.ascontiguousarray(run["high"]), edges, side="left")
        bounds[number] = np.concatenate([[0], inner, [count]])
    base = _header(stream, entries)
    done = 0
    for bucket in range(buckets):
        low, high = bounds[:, bucket], bounds[:, bucket + 1]
        slices = [
            _read(spool, int(starts[n] + low[n]), int(high[n] - low[n])) for n in np.flatnonzero(high > low).tolist()
        ]
        if not slices:
            continue
        block = np.concatenate(slices)
        block.sort(order=("high", "low", "shard", "row"))
        place = np.stack([block["shard"], block["row"]], axis=1)
        for section, values in ((0, block["high"]), (8 * entries, block["low"]), (16 * entries, place)):
            stream.seek(base + section + 8 * done)
            stream.write(values.tobytes())
        done += len(block)


def _read(spool: IO[bytes], start: int, count: int) -> Any:
    spool.seek(start * _ENTRY.itemsize)
    return np.frombuffer(spool.read(count * _ENTRY.itemsize), dtype=_ENTRY)


def _header(stream: IO[bytes], entries: int) -> int:
    """Write the safetensors header; where the data begin."""
    shapes = {"high": ("U64", [entries]), "low": ("U64", [entries]), "place": ("U32", [entries, 2])}
    spec = {
        name: {"dtype": kind, "shape": shape, "data_offsets": [8 * entries * at, 8 * entries * (at + 1)]}
        for at, (name, (kind, shape)) in enumerate(shapes.items())
    }
    text = json.dumps(spec, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little") + text)
    return 8 + len(text)
