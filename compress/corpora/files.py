"""Sources that are files, one or more per split: found by name in a folder, or given one by one."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
from datasets import Dataset, concatenate_datasets
from pydantic import Field, model_validator

from compress.core.errors import Fault, InputError
from compress.corpora.sources.base import SPLITS, Source, by_split, missing_column

_SHARD = re.compile(r"-\d{5}-of-\d{5}$")


class FileSource(Source):
    """Base of `jsonl`, `csv` and `parquet`. Paths are relative to the folder that the command is run in."""

    extensions: ClassVar[tuple[str, ...]]
    tail: ClassVar[re.Pattern[str]] = _SHARD  # what of a file's name does not belong to the split's

    path: str | None = Field(
        None, description="Folder with one file per split: train, dev (or validation, valid, val), test, unlabeled"
    )
    train: str | None = Field(None, description="File of the train split, when there is no such folder")
    dev: str | None = Field(None, description="File of the dev split")
    test: str | None = Field(None, description="File of the test split")
    unlabeled: str | None = Field(None, description="File of rows without labels")

    @model_validator(mode="after")
    def _something_given(self) -> FileSource:
        if not any((self.path, self.train, self.dev, self.test, self.unlabeled)):
            raise ValueError("expected `path:` (a folder) or `train:` (a file), came neither")
        return self

    @abstractmethod
    def read(self, path: Path, columns: Collection[str] | None = None) -> Dataset:
        """Every row of one file; `columns` are those that are used. Raises InputError with file and line."""

    @abstractmethod
    def columns(self, path: Path) -> list[str]:
        """Column names of one file, from a look at its beginning. Raises InputError with file and line."""

    def located(self) -> dict[str, list[Path]]:
        """The files of each split. Raises InputError for a file or folder that is not there."""
        found: dict[str, list[Path]] = self._in_folder(Path(self.path)) if self.path else {}
        for split in SPLITS:
            given = getattr(self, split)
            if given is None:
                continue
            path = Path(given)
            if not path.is_file():
                what = "a folder, expected a file" if path.is_dir() else "no such file"
                raise InputError(f"{path}: {what} (`{split}:` of {self.registered_name}; seen from {Path.cwd()})")
            found[split] = [path]
        return found

    def _in_folder(self, folder: Path) -> dict[str, list[Path]]:
        kinds = " or ".join(self.extensions)
        if folder.is_file():
            return {"train": [folder]}
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder (seen from {Path.cwd()}); expected one with train{kinds}")
        stems: dict[str, list[Path]] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix in self.extensions and path.is_file():
                stems.setdefault(self.tail.sub("", path.stem), []).append(path)
        found = by_split(stems, str(folder), [split for split in SPLITS if getattr(self, split) is not None])
        if "train" not in found and self.train is None:
            present = ", ".join(sorted(p.name for p in folder.iterdir())[:12]) or "nothing"
            raise InputError(f"{folder}: no train file (expected train{kinds}, came {present}); name it with `train:`")
        return {split: stems[found[split]] for split in SPLITS if split in found}

    def files(self) -> list[Path]:
        """The files of every split, in the order of the splits."""
        located = self.located()
        return [path for split in SPLITS for path in located.get(split, [])]

    def available(self) -> set[str] | None:
        """The splits whose files were found."""
        try:
            return set(self.located())
        except InputError:
            return None

    def place(self, split: str) -> str:
        """The file (or first file) of a split."""
        paths = self.located().get(split)
        return str(paths[0]) if paths else super().place(split)

    def preflight(self, columns: dict[str, str], spare: Collection[str] = ()) -> list[Fault]:
        """A missing file, an unreadable beginning, or a column that is not there."""
        try:
            located = self.located()
        except InputError as error:
            return [Fault(self.registered_name, str(error))]
        faults: list[Fault] = []
        for split, paths in located.items():
            for path in paths:
                try:
                    present = self.columns(path)
                except InputError as error:
                    faults.append(Fault(f"{self.registered_name}.{split}", str(error)))
                    continue
                faults += [
                    Fault(f"{self.registered_name}.{split}", missing_column(str(path), column, present))
                    for normal, column in columns.items()
                    if column not in present and not (split == "unlabeled" and normal in {*LABEL_COLUMNS, *spare})
                ]
        return faults

    def splits(self, seed: int, columns: Collection[str] | None = None) -> dict[str, Dataset]:
        """Every row of every file, in file order."""
        read = {
            split: [_only(self.read(path, columns), columns) for path in paths]
            for split, paths in self.located().items()
        }
        return {split: parts[0] if len(parts) == 1 else concatenate_datasets(parts) for split, parts in read.items()}


def _only(dataset: Dataset, columns: Collection[str] | None) -> Dataset:
    """The used columns, where they are there: shards may differ in the others."""
    kept = [name for name in dataset.column_names if columns is None or name in columns]
    return dataset.select_columns(kept) if kept else dataset


LABEL_COLUMNS = ("label", "labels", "score", "tags", "answers")
"""Normalised columns that rows without labels may lack."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what goes wrong on opening or decoding a file into an InputError."""
    try:
        yield
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1 if len(error.object) == path.stat().st_size else None
        where = f"{path}:{line}" if line else _undecodable(path)
        raise InputError(f"{where}: not UTF-8 text ({error.reason}); convert it (`iconv -t utf-8`)") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def _undecodable(path: Path) -> str:
    """`file:line` of the first line that is not UTF-8."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return f"{path}:{number}"
    return str(path)


def dataset_of(columns: dict[str, list[object]], path: Path, used: Collection[str] | None = None) -> Dataset:
    """A dataset from columns. Raises InputError with file and row for one that mixes types or that Arrow cannot hold;
    such a column is left out when it is not `used` (None: all are)."""
    kept: dict[str, list[object]] = {}
    for name, values in columns.items():
        fault = _mixed(name, values) or _unholdable(name, values)
        if not fault:
            kept[name] = values
        elif used is None or name in used:
            raise InputError(f"{path}: {fault}")
    return Dataset.from_dict(kept)


def _mixed(name: str, values: list[object]) -> str:
    first: type | None = None
    for row, value in enumerate(values, 1):
        kind = float if isinstance(value, int) and not isinstance(value, bool) and first is float else type(value)
        if value is None or kind is first:
            continue
        if first is int and kind is float:
            first = float
        elif first is None:
            first = kind
        else:
            return (
                f"row {row}: column {name!r} is {kind.__name__} {value!r:.40} here and {first.__name__} in the rows "
                "before; make them one type"
            )
    return ""


def _unholdable(name: str, values: list[object]) -> str:
    """What keeps a column out of Arrow: whole numbers past 64 bits, half a Unicode pair, lists of several types."""
    try:
        pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError):
        bad = next((row for row, value in enumerate(values, 1) if not _holdable(value)), 0)
        at = f"row {bad}: " if bad else ""
        return f"{at}column {name!r} holds {_kind(values[bad - 1]) if bad else 'values of several types'}"
    return ""


def _holdable(value: object) -> bool:
    try:
        pa.array([value])
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError):
        return False
    return True


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "a text that is not valid Unicode (half a surrogate pair); mend or remove it"
    if isinstance(value, int):
        return f"a whole number past 64 bits ({value!r:.20}...); write it as a text"
    return f"a {type(value).__name__} of several types ({value!r:.40}); make them one type"
