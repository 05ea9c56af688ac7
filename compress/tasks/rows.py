"""Sequences that make what they hold when it is read, so that a corpus need not lie in memory as objects."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, overload

T = TypeVar("T")


class Rows(Sequence[T]):
    """Base of such a sequence: a subclass has a length and makes one row. What is read is new each time."""

    @abstractmethod
    def row(self, at: int) -> T:
        """The row at a place from 0 on."""

    @overload
    def __getitem__(self, at: int) -> T: ...

    @overload
    def __getitem__(self, at: slice) -> list[T]: ...

    def __getitem__(self, at: Any) -> Any:
        places = range(len(self))[at]  # counts from the end, and raises IndexError
        return self.row(places) if isinstance(places, int) else [self.row(place) for place in places]

    def __iter__(self) -> Iterator[T]:
        return map(self.row, range(len(self)))
