"""The embedded corpus: generated reviews that a bag of words cannot judge."""

from __future__ import annotations

from collections.abc import Collection

from datasets import Dataset
from pydantic import Field

from compress.core.errors import Fault
from compress.corpora.reviews.generate import reviews
from compress.corpora.sources.base import SOURCES, Source, missing_column

COLUMNS = ("label", "slice", "text")
_SHARES = {"dev": 0.1, "test": 0.1}


@SOURCES.register("reviews")
class Reviews(Source):
    """Generated sentences about films, restaurants, hotels, books and gadgets; columns text, label and slice.

    The label depends on how a sentence is put together: negation, double negation, contrast, intensity, comparison,
    conditionals, reported speech, clauses about something else. A tenth of the rows is dev, a tenth test; about three
    quarters of the sentences there have a word or a construction that train lacks, each split its own.
    """

    rows: int = Field(20_000, ge=200, le=500_000, description="Sentences in train, dev and test together (80/10/10)")
    unlabeled: int = Field(0, ge=0, le=500_000, description="Sentences without labels, written as those of train are")
    seed: int | None = Field(None, ge=0, description="Seed of the sentences; the step's when left out")

    def available(self) -> set[str] | None:
        """Train, dev and test, and unlabeled when asked for."""
        return {"train", "dev", "test"} | ({"unlabeled"} if self.unlabeled else set())

    def preflight(self, columns: dict[str, str], spare: Collection[str] = ()) -> list[Fault]:
        """A column that the sentences do not have."""
        lacking = [column for column in columns.values() if column not in COLUMNS]
        return [Fault("reviews", missing_column("reviews", column, COLUMNS)) for column in lacking]

    def splits(self, seed: int, columns: Collection[str] | None = None) -> dict[str, Dataset]:
        """Write the sentences; no text comes twice, whatever its split."""
        seed = seed if self.seed is None else self.seed
        seen: set[str] = set()
        counts = {split: int(self.rows * share) for split, share in _SHARES.items()}
        written = {split: reviews(split, count, seed, seen, held_only=True) for split, count in counts.items()}
        written["train"] = reviews("train", self.rows - sum(counts.values()), seed, seen)
        found = {split: Dataset.from_dict(written[split]) for split in ("train", "dev", "test")}
        if self.unlabeled:
            rows = reviews("unlabeled", self.unlabeled, seed, seen)
            found["unlabeled"] = Dataset.from_dict({"text": rows["text"]})
        return found
