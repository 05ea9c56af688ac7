"""A tokenizer and short ways to features and batches."""

from __future__ import annotations

from typing import Any

import torch

from compress.core.options import Choice
from compress.tasks.base import TASKS, Task


def task(name: str, **options: Any) -> Task:
    """A task as a recipe gives it."""
    found = Choice(TASKS).parse({name: options})
    assert isinstance(found, Task)
    return found


def features(one: Task, tokenizer: Any, rows: list[dict[str, Any]], max_length: int = 32) -> list[dict[str, Any]]:
    """Encoded rows, one dict for each feature."""
    columns = one.encode(tokenizer, {name: [row[name] for row in rows] for name in rows[0]}, max_length)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def generator(seed: int = 0) -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(seed)
