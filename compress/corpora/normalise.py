"""Raw splits to normalised rows: checked first, labels as indices."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from datasets import Dataset

from compress.core.errors import InputError
from compress.core.reporter import Reporter
from compress.corpora.carve import Rows
from compress.corpora.checks import SHOWN, check_cells, check_columns, raise_rows, rows_of
from compress.corpora.files import LABEL_COLUMNS
from compress.corpora.labels import Seen, class_names, label_index
from compress.corpora.sources.base import SPLITS, Source


class Normaliser(Protocol):
    """What a corpus needs of a task (`compress.tasks.base.Task` has it)."""

    @property
    def spare(self) -> frozenset[str]:
        """Normalised columns that unlabeled rows may lack, besides labels."""

    def sources(self) -> dict[str, str]:
        """Normalised column to source column."""

    def label_values(self, row: Mapping[str, Any]) -> list[Any]:
        """The raw labels of a source row."""

    def normalise(self, row: Mapping[str, Any], index: Mapping[Any, int]) -> dict[str, Any]:
        """A source row as normalised columns. Raises ValueError for a row that cannot be used."""


@dataclass(frozen=True)
class Naming:
    """How the recipe orders (`labels`) and names (`label_names`) labels."""

    order: list[str] | None = None
    names: Mapping[Any, str] | None = None


@dataclass
class Normalised:
    """Rows by split, label names in index order, and what should be looked at."""

    rows: dict[str, Rows]
    labels: list[str]
    slices: bool = False
    warnings: list[str] = field(default_factory=list)


def normalise(
    source: Source,
    raw: Mapping[str, Dataset],
    task: Normaliser,
    naming: Naming,
    slice_column: str,
    reporter: Reporter,
) -> Normalised:
    """Check raw splits and bring them to normalised columns. Raises InputError with file and row."""
    if "train" not in raw:
        raise InputError(f"{source.registered_name} source: no train split (it has: {', '.join(raw) or 'none'})")
    columns = task.sources()
    splits = [split for split in SPLITS if split in raw]
    for split in splits:
        used, place = _used(columns, split, task.spare), source.place(split)
        check_columns(raw[split], used, place)
        check_cells(rows_of(raw[split], list(used.values())), used, place)
    labels, index, warnings = _labels(source, raw, task, naming)
    sliced = all(slice_column in raw[split].column_names for split in splits if split != "unlabeled")
    rows: dict[str, Rows] = {}
    with reporter.progress("reading rows", sum(map(len, raw.values()))) as bar:
        for split in splits:
            wanted = [*_used(columns, split, task.spare).values()]
            wanted += [slice_column] if sliced and split != "unlabeled" else []
            wanted += [columns[name] for name in task.spare if columns.get(name) in raw[split].column_names]
            rows[split] = _rows(raw[split], wanted, task, index, source.place(split), slice_column if sliced else "")
            bar.advance(len(raw[split]), split)
    return Normalised(rows, labels, sliced, warnings)


def _used(columns: Mapping[str, str], split: str, spare: Collection[str]) -> dict[str, str]:
    """The columns that a split must have: all of them, in `unlabeled` without labels and what else it may lack."""
    return {n: c for n, c in columns.items() if split != "unlabeled" or n not in {*LABEL_COLUMNS, *spare}}


def _labels(
    source: Source, raw: Mapping[str, Dataset], task: Normaliser, naming: Naming
) -> tuple[list[str], dict[Any, int], list[str]]:
    """Names in index order, raw label to index, warnings; all empty for a task without labels."""
    columns = task.sources()
    seen: dict[str, Seen] = {}
    for split in (name for name in SPLITS if name in raw and name != "unlabeled"):
        seen[split] = Seen(source.place(split))
        for number, row in enumerate(rows_of(raw[split], list(columns.values())), 1):
            try:
                seen[split].add(task.label_values(row), number)
            except ValueError as error:
                raise InputError(f"{source.place(split)}: row {number}: {error}") from None
    if not any(one.rows for one in seen.values()):
        if naming.order or naming.names:
            raise InputError("`labels` or `label_names` is given, but this task has no labels; remove it")
        return [], {}, []
    column = next((columns[name] for name in LABEL_COLUMNS if name in columns), "")
    names, index, warnings = label_index(
        seen,
        order=naming.order,
        names=naming.names,
        declared=class_names(raw["train"], column),
        open_ended="tags" in columns,
    )
    if "labels" in columns:  # a row names what it lacks too, so that its task must know every label
        index = {**{name: place for place, name in enumerate(names)}, **index}
    return names, index, warnings


def _rows(
    dataset: Dataset, columns: list[str], task: Normaliser, index: Mapping[Any, int], place: str, slice_column: str
) -> Rows:
    """The normalised rows of one split."""
    rows: Rows = []
    faults: list[str] = []
    count = 0
    for number, row in enumerate(rows_of(dataset, columns), 1):
        try:
            plain = task.normalise(row, index)
        except ValueError as error:
            count += 1
            if len(faults) < SHOWN:
                faults.append(f"{place}: row {number}: {error}")
            continue
        if slice_column in row:
            plain["slice"] = str(row[slice_column])
        rows.append(plain)
    raise_rows(faults, count)
    return rows
