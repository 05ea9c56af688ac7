"""A corpus as one tokenizer reads it: features of rows, batches of a task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from compress.tasks.base import Features, Task
from compress.tasks.batch import IGNORED
from compress.tasks.rows import Rows

Feature = dict[str, Any]


class FeatureTable(Rows[Feature]):
    """Features of many rows, kept as columns: as dicts of lists they would take several times the memory.

    same: what all rows have. Raises ValueError for columns of unequal length.
    """

    def __init__(self, columns: Features, **same: Any) -> None:
        self._columns, self._same = columns, same
        sizes = {name: len(column) for name, column in columns.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"columns of one table with unequal numbers of rows: {sizes}")
        self._size = next(iter(sizes.values()), 0)

    def __len__(self) -> int:
        return self._size

    def row(self, at: int) -> Feature:
        """One row's value of each column."""
        return {**{name: column[at] for name, column in self._columns.items()}, **self._same}


class Joined(Rows[Feature]):
    """Some features and then others, without a copy of either. `labels`: makes a label for one of the others."""

    def __init__(
        self, first: Sequence[Feature], others: Sequence[Feature], labels: Callable[[Feature], Any] | None
    ) -> None:
        self._first, self._others, self._labels = first, others, labels

    def __len__(self) -> int:
        return len(self._first) + len(self._others)

    def row(self, at: int) -> Feature:
        """A feature as it is, or one of the others with its label."""
        if at < len(self._first):
            return self._first[at]
        bare = self._others[at - len(self._first)]
        return bare if self._labels is None else {**bare, "labels": self._labels(bare)}


def encode_rows(task: Task, tokenizer: Any, rows: Sequence[Mapping[str, Any]], max_length: int) -> FeatureTable:
    """Rows of normalised columns as features, in the same order, cut to `max_length` tokens, without padding.

    Each has `max_length` as `most`, beyond which no batch of it is padded: the model may read no more.
    """
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    return FeatureTable(task.encode(tokenizer, columns, max_length) if rows else {}, most=max_length)


def with_unlabelled(task: Task, labelled: Sequence[Feature], unlabelled: Sequence[Feature]) -> Joined:
    """One after the other; features without labels get ones that no loss counts: -100 for classes, NaN for scores."""
    if not labelled or "labels" not in labelled[0]:
        return Joined(labelled, unlabelled, None)
    like = labelled[0]["labels"]
    per_token = task.token_level and isinstance(like, list) and len(like) == len(labelled[0]["input_ids"])
    return Joined(labelled, unlabelled, lambda row: _unknown(like, row, per_token))


def _unknown(like: Any, row: Feature, per_token: bool) -> Any:
    if isinstance(like, list):
        return [_unknown(like[0], row, False)] * (len(row["input_ids"]) if per_token else len(like))
    return math.nan if isinstance(like, float) else IGNORED


def collator(task: Task, pad_id: int) -> Callable[[list[Feature], torch.Generator], dict[str, Tensor]]:
    """The task's batches for a tokenizer that pads with `pad_id`."""

    def collate(features: list[Feature], generator: torch.Generator) -> dict[str, Tensor]:
        return task.collate(features, pad_id, generator)

    return collate


def lengths(features: Sequence[Feature]) -> list[int]:
    """Tokens of each row, both texts of a pair that is embedded apart."""
    return [len(row["input_ids"]) + len(row.get("second") or ()) for row in features]
