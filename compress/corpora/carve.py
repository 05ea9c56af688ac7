"""Draws of rows: a dev split carved from train, and limits."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from compress.core.errors import InputError
from compress.corpora.checks import text_key

Rows = list[dict[str, Any]]


def carve_dev(rows: Sequence[dict[str, Any]], share: float, seed: int) -> tuple[Rows, Rows]:
    """Train and dev from one split: the same share of each label, equal texts and whole groups kept on one side.

    Raises InputError when one of the two would be empty.
    """
    keys = [row["group"] if "group" in row else text_key(row) for row in rows]
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
    """At most `limit` rows, drawn by seed and kept in their order; of rows in groups whole groups.

    Raises InputError for a limit under the size of every group.
    """
    if limit is None or len(rows) <= limit:
        return rows
    if "group" in rows[0]:
        return _whole(rows, limit, seed)
    return [rows[i] for i in drawn(len(rows), limit, seed)]


def _whole(rows: Rows, limit: int, seed: int) -> Rows:
    """The rows of groups, drawn one after the other, as long as they fit."""
    sizes = Counter(row["group"] for row in rows)
    names = list(sizes)
    random.Random(f"{seed} limit").shuffle(names)
    kept: set[str] = set()
    left = limit
    for name in names:
        if sizes[name] <= left:
            kept.add(name)
            left -= sizes[name]
    if not kept:
        least = min(sizes.values())
        raise InputError(f"limit: {limit} rows are fewer than any group has (the smallest: {least}); raise it")
    return [row for row in rows if row["group"] in kept]


def drawn(total: int, count: int, seed: int) -> list[int]:
    """`count` of `total` positions, drawn by seed, in order."""
    return sorted(random.Random(f"{seed} limit").sample(range(total), count))
