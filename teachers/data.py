"""A corpus as one teacher reads it: features of a split, batches of its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from compress.tasks.base import Task
from compress.train.batches import Batch, Collate, Feature


def encode_rows(task: Task, tokenizer: Any, rows: Sequence[Mapping[str, Any]], max_length: int) -> list[Feature]:
    """Rows of normalised columns as features, in the same order, cut to `max_length` tokens, without padding."""
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    features = task.encode(tokenizer, columns, max_length) if rows else {}
    return [dict(zip(features, values, strict=True)) for values in zip(*features.values(), strict=True)]


def collator(task: Task, pad_id: int) -> Collate:
    """The task's batches for a tokenizer that pads with `pad_id`."""

    def collate(features: list[Feature], generator: torch.Generator) -> Batch:
        return task.collate(features, pad_id, generator)

    return collate


def lengths(features: Sequence[Feature]) -> list[int]:
    """Tokens of each row."""
    return [len(row["input_ids"]) for row in features]
