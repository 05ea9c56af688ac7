"""CSV and TSV with a header line."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import ClassVar

from datasets import Dataset
from pydantic import Field

from compress.core.errors import InputError
from compress.corpora.files import FileSource, readable
from compress.corpora.sources.base import SOURCES


@SOURCES.register("csv")
class Csv(FileSource):
    """CSV in UTF-8 with a header line; `.tsv` files are split at tabs.

    A column whose every cell is a number is read as numbers. Read by the standard library rather than by pandas,
    which turns the texts "NA", "null" and "None" into nothing and does not name the line of a broken row.
    """

    extensions: ClassVar[tuple[str, ...]] = (".csv", ".tsv")

    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="Sign between cells; a comma, or a tab in .tsv"
    )

    def read(self, path: Path, columns: Collection[str] | None = None) -> Dataset:
        """Every row of a file."""
        lines = self._lines(path)
        header = next(lines)
        cells: list[list[str]] = [[] for _ in header]
        for row in lines:
            for column, cell in zip(cells, row, strict=True):
                column.append(cell)
        if not cells[0]:
            raise InputError(f"{path}: has a header and no rows")
        return Dataset.from_dict({name: _typed(column) for name, column in zip(header, cells, strict=True)})

    def columns(self, path: Path) -> list[str]:
        """The header."""
        return next(self._lines(path))

    def _lines(self, path: Path) -> Iterator[list[str]]:
        """The header, then rows of as many cells. Raises InputError with file and line."""
        delimiter = self.delimiter or ("\t" if path.suffix == ".tsv" else ",")
        header: list[str] = []
        with readable(path), path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            start = 1
            try:
                for row in reader:
                    if row and not header:
                        header = row
                        _check_header(path, header)
                    if row:
                        if len(row) != len(header):
                            raise InputError(_miscounted(path, start, row, header, delimiter))
                        yield row
                    start = reader.line_num + 1
            except csv.Error as error:
                raise InputError(f"{path}:{start}: not CSV ({error}); check the quotes of this row") from error
        if not header:
            raise InputError(f"{path}: empty; expected a header line and rows")


def _check_header(path: Path, header: list[str]) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{path}:1: the header has the column {twice[0]!r} twice; rename one")
    if not all(name.strip() for name in header):
        raise InputError(f"{path}:1: the header has a column without a name (column {header.index('') + 1})")


def _miscounted(path: Path, line: int, row: list[str], header: list[str], delimiter: str) -> str:
    return (
        f"{path}:{line}: {len(row)} cells where the header has {len(header)} ({', '.join(header[:8])}); "
        f"put quotes around cells that hold {delimiter!r}"
    )


def _typed(cells: list[str]) -> list[str] | list[int | None] | list[float | None]:
    """Whole numbers, numbers, or texts: the first that fits every cell that is not blank (those become null)."""
    filled = [cell for cell in cells if cell.strip()]
    if not filled:
        return cells
    for kind in (int, float):
        try:
            values = [kind(cell) for cell in filled]
        except ValueError:
            continue
        if kind is int and any(str(value) != cell.strip() for value, cell in zip(values, filled, strict=True)):
            return cells  # 007 and +1 are names, not numbers
        if all(math.isnan(value) for value in values):
            return cells
        return [kind(cell) if cell.strip() else None for cell in cells]
    return cells
