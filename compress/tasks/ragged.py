"""Rows of small integers, one behind the other in a flat array: what the token ids of a corpus are kept in."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Literal

from compress.tasks.rows import Rows

Kind = Literal["i", "b"]
IDS: Kind = "i"
SMALL: Kind = "b"


class Ragged(Rows[list[int]]):
    """Lists of integers that take 4 bytes a number (`IDS`), or 1 (`SMALL`: -128 to 127), and 8 bytes a row.

    As Python lists they take 8 to 40 bytes a number and 56 a row.
    """

    def __init__(self, rows: Iterable[Sequence[int]] = (), kind: Kind = IDS) -> None:
        self._flat = array(kind)
        self._ends = array("q", [0])
        self.extend(rows)

    def extend(self, rows: Iterable[Sequence[int]]) -> None:
        """Put rows behind those that are there. Raises OverflowError for a number that does not fit."""
        for row in rows:
            self._flat.extend(row)
            self._ends.append(len(self._flat))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def row(self, at: int) -> list[int]:
        """The numbers of one row."""
        return self._flat[self._ends[at] : self._ends[at + 1]].tolist()
