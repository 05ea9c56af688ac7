"""A corpus as one tokenizer reads it: features of rows, batches of a task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from compress.tasks.base import Task
from compress.tasks.batch import IGNORED

Feature = dict[str, Any]


def encode_rows(task: Task, tokenizer: Any, rows: Sequence[Mapping[str, Any]], max_length: int) -> list[Feature]:
    """Rows of normalised columns as features, in the same order, cut to `max_length` tokens, without padding."""
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    features = task.encode(tokenizer, columns, max_length) if rows else {}
    return [dict(zip(features, values, strict=True)) for values in zip(*features.values(), strict=True)]


def with_unlabelled(task: Task, labelled: Sequence[Feature], unlabelled: Sequence[Feature]) -> list[Feature]:
    """Both as one list; features without labels get ones that no loss counts: -100 for classes, NaN for scores."""
    if not labelled or "labels" not in labelled[0]:
        return [*labelled, *unlabelled]
    like = labelled[0]["labels"]
    per_token = task.token_level and isinstance(like, list) and len(like) == len(labelled[0]["input_ids"])
    return [*labelled, *({**row, "labels": _unknown(like, row, per_token)} for row in unlabelled)]


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
