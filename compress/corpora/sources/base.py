"""What a source is: named splits of raw rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable
from pathlib import Path

from datasets import Dataset

from compress.core.errors import Fault, InputError, did_you_mean
from compress.core.options import Options
from compress.core.registry import Catalogue

SPLITS = ("train", "dev", "test", "unlabeled")
ALIASES = {
    "train": ("train", "training"),
    "dev": ("dev", "validation", "valid", "val"),
    "test": ("test",),
    "unlabeled": ("unlabeled", "unlabelled", "unsupervised"),
}


class Source(Options):
    """Base of every source."""

    def files(self) -> list[Path]:
        """Local files whose content decides the rows."""
        return []

    def available(self) -> set[str] | None:
        """The splits that it gives, seen without reading a row; None when only reading can tell."""
        return None

    def preflight(self, columns: dict[str, str], spare: Collection[str] = ()) -> list[Fault]:
        """Faults that a look at the files shows: a missing file, a missing column.

        columns: normalised to source. spare: normalised ones that unlabeled rows may lack, besides labels.
        """
        return []

    def place(self, split: str) -> str:
        """What to call the origin of a split in an error: a file, or the source and the split."""
        return f"{self.registered_name} source, {split} split"

    @abstractmethod
    def splits(self, seed: int, columns: Collection[str] | None = None) -> dict[str, Dataset]:
        """The raw rows, by split (`SPLITS`). Raises InputError with file and line for what cannot be read.

        columns: those that are used (None: all); what the others hold need not be readable, nor be given.
        """


def missing_column(place: str, column: str, present: Iterable[str]) -> str:
    """The message for a column that is not there, with what is there and the nearest name."""
    known = list(present)
    hint = did_you_mean(column, known)
    return f"{place}: no column {column!r}{hint} (it has: {', '.join(known) or 'none'})"


def by_split(names: Iterable[str], place: str, given: Iterable[str] = ()) -> dict[str, str]:
    """Split to the name that it has in `names` (`validation` is dev), but for splits that are `given` otherwise.

    Raises InputError when two names mean one split.
    """
    present = list(names)
    found: dict[str, str] = {}
    for split in ALIASES.keys() - set(given):
        hits = [name for name in present if name in ALIASES[split]]
        if len(hits) > 1:
            raise InputError(f"{place}: {' and '.join(hits)} both mean {split}; keep one, or name it with `{split}:`")
        if hits:
            found[split] = hits[0]
    return found


SOURCES: Catalogue[Source] = Catalogue("source", "sources", ("compress.corpora.sources",))
