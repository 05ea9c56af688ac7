"""What a source is: named splits of raw rows."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from datasets import Dataset

from compress.core.errors import Fault
from compress.core.options import Options
from compress.core.registry import Catalogue

SPLITS = ("train", "dev", "test", "unlabeled")


class Source(Options):
    """Base of every source."""

    def files(self) -> list[Path]:
        """Local files whose content decides the rows."""
        return []

    def preflight(self, columns: dict[str, str]) -> list[Fault]:
        """Faults that a look at the files shows: a missing file, a missing column. `columns`: normalised to source."""
        return []

    @abstractmethod
    def splits(self, seed: int) -> dict[str, Dataset]:
        """The raw rows, by split (`SPLITS`). Raises InputError with file and line for what cannot be read."""


SOURCES: Catalogue[Source] = Catalogue("source", "sources", ("compress.corpora.sources",))
