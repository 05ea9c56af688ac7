"""Parquet files, shards of one split included."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from compress.core.errors import InputError
from compress.corpora.files import FileSource, readable
from compress.corpora.sources.base import SOURCES


@SOURCES.register("parquet")
class Parquet(FileSource):
    """Parquet, one file per split or shards named `train-00000-of-00002.parquet`.

    Label names that `datasets` wrote into the file are used.
    """

    extensions: ClassVar[tuple[str, ...]] = (".parquet",)

    def read(self, path: Path, columns: Collection[str] | None = None) -> Dataset:
        """Every row of a file."""
        with _whole(path):
            dataset = Dataset(pq.read_table(path))
        if not len(dataset):
            raise InputError(f"{path}: no rows")
        return dataset

    def columns(self, path: Path) -> list[str]:
        """The names in the file's schema."""
        with _whole(path):
            return list(pq.read_schema(path).names)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turn an Arrow error into one that names the file."""
    with readable(path):
        try:
            yield
        except pa.ArrowException as error:
            raise InputError(f"{path}: not a Parquet file, or a damaged one ({error})") from error
