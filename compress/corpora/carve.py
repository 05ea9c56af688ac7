"""Draws of rows: a dev split carved from train, and limits."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from compress.core.errors import InputError
from compress.corpora.checks import text_key

Rows = list[dict[str, Any]]


def carve_dev(rows: Sequence[dict[str, Any]], share: float, seed: int) -> tuple[Rows, Rows]:
    """Train and dev from one split: the same share of each label, equal texts kept on one side. Raises InputError."""
    keys = [text_key(row) for row in rows]
    owner: dict[str, Any] = {}
    groups: dict[Any, dict[str, None]] = {}
    for key, row in zip(keys, rows, strict=True):
        groups.setdefault(owner.setdefault(key, row.get("label")), {})[key] = None
    chosen: set[str] = set()
    for label in sorted(groups, key=str):
        texts = list(groups[label])
        random.Random(f"{seed} {label}").shuffle(texts)
        chosen.update(texts[: max(1, round(share * len(texts))) if len(texts) > 1 else 0])
    train = [row for key, row in zip(keys, rows, strict=True) if key not in chosen]
    dev = [row for key, row in zip(keys, rows, strict=True) if key in chosen]
    if not train or not dev:
        raise InputError(f"{len(rows)} train rows are too few to carve {share:.0%} from as dev; give a dev file")
    return train, dev


def limited(rows: Rows, limit: int | None, seed: int) -> Rows:
    """At most `limit` rows, drawn by seed and kept in their order."""
    return rows if limit is None or len(rows) <= limit else [rows[i] for i in drawn(len(rows), limit, seed)]


def drawn(total: int, count: int, seed: int) -> list[int]:
    """`count` of `total` positions, drawn by seed, in order."""
    return sorted(random.Random(f"{seed} limit").sample(range(total), count))
