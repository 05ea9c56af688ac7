"""Checks on raw rows before anything is trained on them: columns, empty splits, blank or broken cells, overlap."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from datasets import Dataset

from compress.core.errors import InputError
from compress.corpora.files import LABEL_COLUMNS
from compress.corpora.sources.base import missing_column

SHOWN = 5
LONG_WORDS = 2000


def rows_of(dataset: Dataset, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows as plain values (a ClassLabel stays an int), a thousand at a time."""
    kept = dataset if columns is None else dataset.select_columns(list(dict.fromkeys(columns)))
    for batch in kept.with_format("arrow").iter(batch_size=1000):
        yield from batch.to_pylist()


def check_columns(dataset: Dataset, columns: Mapping[str, str], place: str, labelled: bool = True) -> None:
    """Every source column is there and holds rows. Raises InputError."""
    for normal, column in columns.items():
        if column not in dataset.column_names and (labelled or normal not in LABEL_COLUMNS):
            raise InputError(missing_column(place, column, dataset.column_names))
    if not len(dataset):
        raise InputError(f"{place}: no rows; give a file with rows or leave this split out")


def check_cells(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str], place: str) -> None:
    """No null, NaN, infinite or blank value in a used column. Raises InputError with the first few rows."""
    faults: list[str] = []
    count = 0
    for number, row in enumerate(rows, 1):
        for normal, column in columns.items():
            reason = _broken(normal, row.get(column))
            if reason:
                count += 1
                if len(faults) < SHOWN:
                    faults.append(f"{place}: row {number}: {column!r} {reason}")
    raise_rows(faults, count)


def raise_rows(faults: Sequence[str], count: int) -> None:
    """Raise one InputError for the rows that were found broken, if any."""
    if faults:
        more = f"\n... and {count - len(faults)} more" if count > len(faults) else ""
        raise InputError("\n".join(faults) + f"{more}\nMend or remove {'this row' if count == 1 else 'these rows'}.")


def _broken(normal: str, value: Any) -> str:
    if value is None:
        return "is missing (null)"
    if isinstance(value, float) and math.isnan(value):
        return "is NaN"
    if isinstance(value, float) and math.isinf(value):
        return f"is infinite ({value})"
    if normal == "score":
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        return "" if numeric else f"should be a number, came {type(value).__name__} {value!r:.40}"
    if isinstance(value, str) and not value.strip() and normal != "labels":  # a row may have none of them
        return "is blank"
    if normal in ("text", "text_pair", "question", "context") and not isinstance(value, str):
        return f"should be text, came {type(value).__name__} {value!r:.40}; is this the text column?"
    if normal == "labels":
        return _broken_items(value) if isinstance(value, list) else ""
    return _broken_list(value) if normal in ("tokens", "tags") else ""


def _broken_list(value: Any) -> str:
    if not isinstance(value, list):
        return f"should be a list, came {type(value).__name__} {value!r:.40}"
    if not value:
        return "is an empty list"
    return _broken_items(value)


def _broken_items(value: list[Any]) -> str:
    for index, item in enumerate(value):
        if item is None or (isinstance(item, str) and not item.strip()):
            return f"is {'missing' if item is None else 'blank'} at position {index + 1}"
    return ""


def text_key(row: Mapping[str, Any]) -> str:
    """What makes two normalised rows the same text: case and spaces do not count."""
    if "tokens" in row:
        return " ".join(map(str, row["tokens"])).casefold()
    names = ("question", "context") if "context" in row else ("text", "text_pair")
    return "\t".join(" ".join(str(row.get(name) or "").casefold().split()) for name in names)


def text_facts(splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Overlap of dev and test with train, duplicates and conflicting labels within train, and lengths in words.

    Shares are of the split's own rows.
    """
    keys = {split: [text_key(row) for row in rows] for split, rows in splits.items()}
    train = set(keys.get("train", ()))
    facts: dict[str, Any] = {"overlap": {}, "duplicates": {}, "longest_words": {}}
    for split, found in keys.items():
        facts["duplicates"][split] = _share(len(found) - len(set(found)), len(found))
        facts["longest_words"][split] = max((key.count(" ") + 1 for key in found), default=0)
        if split in ("dev", "test"):
            facts["overlap"][split] = _share(sum(key in train for key in found), len(found))
    facts["conflicts"] = _conflicts(keys.get("train", ()), splits.get("train", ()))
    if any(rows and "group" in rows[0] for rows in splits.values()):
        facts["groups"] = _group_facts(splits)
    return facts


def _group_facts(splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """For each split its groups: how many, the largest, the share with one row, the share that train has too."""
    train = {row["group"] for row in splits.get("train", ())}
    found: dict[str, dict[str, Any]] = {}
    for split, rows in splits.items():
        sizes = Counter(row["group"] for row in rows)
        alone, shared = sum(size == 1 for size in sizes.values()), sum(name in train for name in sizes)
        found[split] = {
            "count": len(sizes),
            "largest": max(sizes.values(), default=0),
            "alone": _share(alone, len(sizes)),
            "in_train": _share(shared, len(sizes)) if split in ("dev", "test") else 0.0,
        }
    return found


def _conflicts(keys: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> int:
    """Texts of train that carry more than one label."""
    seen: dict[str, Any] = {}
    conflicting: set[str] = set()
    for key, row in zip(keys, rows, strict=True):
        if "label" in row and seen.setdefault(key, row["label"]) != row["label"]:
            conflicting.add(key)
    return len(conflicting)


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def warnings_of(facts: Mapping[str, Any]) -> list[str]:
    """What a person should look at in `text_facts`."""
    found = [
        f"{share:.1%} of {split} also stands in train, so its numbers will flatter; remove those rows"
        for split, share in facts["overlap"].items()
        if share >= 0.01
    ]
    found += [
        f"{share:.1%} of {split} repeats another of its rows"
        for split, share in facts["duplicates"].items()
        if share >= 0.05
    ]
    if facts["conflicts"]:
        found.append(f"{facts['conflicts']} texts of train carry more than one label")
    found += [
        f"{split} has a text of {words} words; what is past a model's max_length is cut off"
        for split, words in facts["longest_words"].items()
        if words > LONG_WORDS
    ]
    for split, groups in facts.get("groups", {}).items():
        if groups["alone"]:
            found.append(
                f"{groups['alone']:.1%} of {split}'s groups have one row, which is compared with none: losses and "
                f"metrics on rankings leave them out; look at the `group` column if that is much"
            )
        if groups["in_train"] >= 0.01:
            found.append(f"{groups['in_train']:.1%} of {split}'s groups also stand in train; split by group")
    return found
