"""Several sources as one, split by split."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

from datasets import Dataset, concatenate_datasets
from pydantic import Field

from compress.core.errors import Fault, InputError
from compress.core.options import Choice, Options
from compress.corpora.carve import drawn
from compress.corpora.files import LABEL_COLUMNS
from compress.corpora.sources.base import SOURCES, SPLITS, Source, missing_column

SplitName = Literal["train", "dev", "test", "unlabeled"]


class Part(Options):
    """One source of a mix, and what of it is taken."""

    source: Annotated[Source, Choice(SOURCES)] = Field(description="Where its rows come from")
    take: list[SplitName] | None = Field(
        None, min_length=1, description="Its splits that are taken; all, or train and unlabeled when `into` is given"
    )
    into: SplitName | None = Field(None, description="The split that all taken rows join, whatever theirs was")
    columns: dict[str, str] | None = Field(
        None,
        min_length=1,
        description="The mix's column to this source's, such as {text: sentence}; others are dropped",
    )
    limit: int | None = Field(None, ge=1, description="At most so many rows of each split, drawn by seed")

    def takes(self) -> tuple[str, ...]:
        """The splits that are taken, where the source has them: never dev and test by default when they would move."""
        if self.take is not None:
            return tuple(self.take)
        return SPLITS if self.into is None else ("train", "unlabeled")


@SOURCES.register("mix")
class Mix(Source):
    """Sources joined split by split, in the order given. Only columns that every part of a split has are kept.

    `{mix: {parts: [{source: {text: {path: books}}}, {source: {jsonl: {path: data}}, columns: {text: sentence}}]}}`
    """

    parts: list[Part] = Field(min_length=1, description="The sources, each with what of it is taken")

    def files(self) -> list[Path]:
        """The files of every part, in order."""
        return [path for part in self.parts for path in part.source.files()]

    def available(self) -> set[str] | None:
        """The splits of all parts together."""
        found: set[str] = set()
        for part in self.parts:
            has = part.source.available()
            if has is None:
                return None
            taken = has & set(part.takes())
            found |= ({part.into} if taken else set()) if part.into else taken
        return found

    def preflight(self, columns: dict[str, str], spare: Collection[str] = ()) -> list[Fault]:
        """The faults of every part, its columns renamed."""
        faults: list[Fault] = []
        for number, part in enumerate(self.parts):
            place = f"mix.parts[{number}]"
            asked = columns
            if part.into == "unlabeled":
                asked = {n: c for n, c in columns.items() if n not in {*LABEL_COLUMNS, *spare}}
            if part.columns is not None:
                lacking = [c for c in asked.values() if c not in part.columns]
                faults += [Fault(f"{place}.columns", missing_column("columns", c, part.columns)) for c in lacking]
                asked = {n: part.columns[c] for n, c in asked.items() if c in part.columns}
            found = part.source.preflight(asked, spare)
            faults += [Fault(f"{place}.source.{f.path}", f.message, f.where) for f in found]
        return faults

    def place(self, split: str) -> str:
        """Names the parts that give the split."""
        places = [
            part.source.place(name)
            for part in self.parts
            for name in part.takes()
            if (part.into or name) == split and name in (part.source.available() or {name})
        ]
        return f"mix, {split} split (of {' + '.join(places)})"

    def splits(self, seed: int, columns: Collection[str] | None = None) -> dict[str, Dataset]:
        """The joined splits."""
        gathered: dict[str, list[Dataset]] = {}
        for part in self.parts:
            raw = part.source.splits(seed, columns if part.columns is None else list(part.columns.values()))
            taken = [name for name in part.takes() if name in raw]
            if not taken:
                raise InputError(f"mix: {part.source.registered_name} gives none of {', '.join(part.takes())}")
            for name in taken:
                rows = _limited(_renamed(raw[name], part, name), part.limit, seed)
                gathered.setdefault(part.into or name, []).append(rows)
        return {split: _joined(split, parts) for split, parts in gathered.items()}


def _renamed(rows: Dataset, part: Part, split: str) -> Dataset:
    if part.columns is None:
        return rows
    for column in part.columns.values():
        if column not in rows.column_names:
            raise InputError(missing_column(part.source.place(split), column, rows.column_names))
    return Dataset.from_dict({new: rows[old][:] for new, old in part.columns.items()})


def _limited(rows: Dataset, limit: int | None, seed: int) -> Dataset:
    return rows if limit is None or len(rows) <= limit else rows.select(drawn(len(rows), limit, seed)).flatten_indices()


def _joined(split: str, parts: list[Dataset]) -> Dataset:
    shared = [name for name in parts[0].column_names if all(name in part.column_names for part in parts)]
    if not shared:
        have = " and ".join(", ".join(part.column_names) for part in parts)
        raise InputError(f"mix: the parts of {split} share no column (they have {have}); rename with `columns`")
    try:
        return concatenate_datasets([part.select_columns(shared) for part in parts])
    except ValueError as error:
        raise InputError(
            f"mix: the parts of {split} do not fit together ({error}); choose `columns` that do"
        ) from error
