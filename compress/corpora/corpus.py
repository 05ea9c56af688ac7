"""The Corpus artifact: one Parquet file of normalised rows per split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from compress.core.artifact import read_manifest
from compress.core.errors import InputError
from compress.corpora.sources.base import SPLITS

TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "text_pair": pa.string(),
    "label": pa.int64(),
    "labels": pa.list_(pa.int64()),
    "score": pa.float64(),
    "group": pa.string(),
    "tokens": pa.list_(pa.string()),
    "tags": pa.list_(pa.int64()),
    "question": pa.string(),
    "context": pa.string(),
    "answers": pa.list_(pa.struct([("text", pa.string()), ("answer_start", pa.int64())])),
    "slice": pa.string(),
}


@dataclass(frozen=True)
class Corpus:
    """An opened corpus. task: `{"classify": {...}}` as the recipe gave it. labels: names in index order.

    key: the identity of the step that made it. rows: number of rows by split. slices: whether rows carry `slice`.
    """

    folder: Path
    task: dict[str, Any]
    labels: list[str]
    key: str
    rows: dict[str, int]
    slices: bool

    @classmethod
    def open(cls, folder: str | Path) -> Corpus:
        """Open a folder that `prepare` wrote. Raises InputError for anything else."""
        folder = Path(folder)
        manifest = read_manifest(folder, "Corpus")
        about = manifest.get("about", {})
        missing = [name for name in ("task", "labels", "rows") if name not in about]
        if missing:
            raise InputError(f"{folder}: its manifest lacks {', '.join(missing)}; run its `prepare` step again")
        return cls(
            folder,
            about["task"],
            list(about["labels"]),
            str(manifest.get("key", "")),
            {split: int(about["rows"][split]) for split in SPLITS if split in about["rows"]},
            bool(about.get("slices", False)),
        )

    def has(self, split: str) -> bool:
        """Whether the corpus has this split."""
        return split in self.rows

    def split(self, name: str) -> Dataset:
        """The rows of a split, in memory. Raises InputError when the corpus lacks it."""
        if not self.has(name):
            raise InputError(f"{self.folder}: no {name} split (it has: {', '.join(self.rows)})")
        path = self.folder / f"{name}.parquet"
        try:
            return Dataset(pq.read_table(path))
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: cannot be read ({error}); run its `prepare` step again") from error

    def chunks(self, split: str, rows: int = 1024) -> Iterator[list[dict[str, Any]]]:
        """The rows of a split in order, so many at a time: memory does not grow with the split.

        Raises InputError when the corpus lacks the split.
        """
        if not self.has(split):
            raise InputError(f"{self.folder}: no {split} split (it has: {', '.join(self.rows)})")
        path = self.folder / f"{split}.parquet"
        try:
            with pq.ParquetFile(path, buffer_size=1 << 20) as held:
                for batch in held.iter_batches(rows, use_threads=False):
                    yield batch.to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: cannot be read ({error}); run its `prepare` step again") from error

    def texts(self, split: str) -> list[dict[str, Any]]:
        """The rows of a split as plain dictionaries."""
        rows: list[dict[str, Any]] = self.split(split).to_list()
        return rows


def write_splits(folder: Path, splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, int]:
    """Write one Parquet file per split and return the number of rows of each."""
    rows: dict[str, int] = {}
    for split in SPLITS:
        if split in splits:
            names = list(dict.fromkeys(name for row in splits[split] for name in row))
            schema = pa.schema([(name, TYPES[name]) for name in names])
            pq.write_table(pa.Table.from_pylist(list(splits[split]), schema), folder / f"{split}.parquet")
            rows[split] = len(splits[split])
    return rows
