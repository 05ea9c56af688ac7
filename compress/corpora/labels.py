"""Label names and their order: one index for every model, so that none is ever read with another's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datasets import ClassLabel, Dataset, Features
from datasets import List as ListFeature

from compress.core.errors import InputError, did_you_mean

MANY = 1000


@dataclass
class Seen:
    """Raw labels of one split, each with the first row (from 1) that carries it and how often it comes."""

    place: str
    rows: dict[Any, int] = field(default_factory=dict)
    counts: dict[Any, int] = field(default_factory=dict)

    def add(self, values: Sequence[Any], row: int) -> None:
        """Count the labels of one row."""
        for value in values:
            if not isinstance(value, (str, int, float)):
                raise InputError(f"{self.place}: row {row}: a label should be text or a number, came {value!r:.40}")
            key = _exact(value)
            self.rows.setdefault(key, row)
            self.counts[key] = self.counts.get(key, 0) + 1

    def kinds(self) -> dict[str, tuple[Any, int]]:
        """The types that occur, each with an example and its row."""
        found: dict[str, tuple[Any, int]] = {}
        for (kind, value), row in self.rows.items():
            found.setdefault(kind, (value, row))
        return found


def _exact(value: Any) -> tuple[str, Any]:
    """Type and value, since True == 1 == 1.0 in Python."""
    return type(value).__name__, value


def class_names(dataset: Dataset, column: str) -> list[str] | None:
    """Names that the data itself declares (`ClassLabel`), of a column or of its items."""
    features: Features = dataset.features
    feature = features.get(column)
    if isinstance(feature, ListFeature):
        feature = feature.feature
    return list(feature.names) if isinstance(feature, ClassLabel) else None


def label_index(
    seen: Mapping[str, Seen],
    *,
    order: Sequence[str] | None = None,
    names: Mapping[Any, str] | None = None,
    declared: Sequence[str] | None = None,
    open_ended: bool = False,
) -> tuple[list[str], dict[Any, int], list[str]]:
    """Label names in index order, raw value to index, and warnings.

    order: names as the recipe orders them. names: raw value to name. declared: the data's own `ClassLabel` names.
    Without any of them the names are sorted (numbers by value). open_ended: labels that only dev or test carry are
    admitted with a warning (tags) instead of refused. Raises InputError.
    """
    _check_types(seen)
    _check_names(seen, names or {})
    train = seen["train"]
    naming = _naming(train, order, names, declared)
    named = {split: {naming(value): row for (_, value), row in one.rows.items()} for split, one in seen.items()}
    _check_spread(named["train"], train)  # first: with the wrong column, every other message would mislead
    labels, warnings = _ordered(named, seen, order, declared if names is None else None, open_ended)
    unused = [label for label in labels if label not in named["train"]]
    if unused and not warnings:
        warnings.append(f"no train row carries {', '.join(unused)}; a model cannot learn what it never sees")
    values = {value for one in seen.values() for _, value in one.rows}
    return labels, {value: labels.index(naming(value)) for value in values}, warnings


def _check_types(seen: Mapping[str, Seen]) -> None:
    first: tuple[str, Any, str, int] | None = None
    for one in seen.values():
        for kind, (value, row) in one.kinds().items():
            if kind == "float" and not float(value).is_integer():
                raise InputError(
                    f"{one.place}: row {row}: the label {value!r} is a fraction; use the task `regress` for scores"
                )
            if first is None:
                first = (kind, value, one.place, row)
            elif first[0] != kind:
                raise InputError(
                    f"{one.place}: row {row}: the label {value!r} is {kind}, but {first[1]!r} ({first[2]}, row "
                    f"{first[3]}) is {first[0]}; write all labels as one type"
                )


def _check_names(seen: Mapping[str, Seen], names: Mapping[Any, str]) -> None:
    known = {plain(value) for one in seen.values() for _, value in one.rows}
    for raw in names:
        if plain(raw) not in known:
            hint = did_you_mean(plain(raw), known)
            shown = ", ".join(sorted(known)[:20])
            raise InputError(f"label_names: {raw!r} is no label of the data{hint} (they are: {shown}); remove it")


def plain(value: Any) -> str:
    """The name of a raw label that nothing names: `0` for 0 and 0.0, `true` for True."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


class _Naming:
    """Raw value to name."""

    def __init__(self, names: Mapping[str, str], place: str) -> None:
        self.names = names
        self.place = place

    def __call__(self, value: Any) -> str:
        return self.names.get(plain(value), plain(value))


def _naming(
    train: Seen, order: Sequence[str] | None, names: Mapping[Any, str] | None, declared: Sequence[str] | None
) -> _Naming:
    if names is not None:
        return _Naming({plain(raw): name for raw, name in names.items()}, train.place)
    whole = all(kind == "int" for kind, _ in train.rows)
    positions = declared if declared is not None and whole else None
    if positions is None and order is not None and whole and not {plain(v) for _, v in train.rows} & set(order):
        positions = order  # `labels: [negative, positive]` over 0 and 1 names them by position
    return _Naming({str(i): name for i, name in enumerate(positions or ())}, train.place)


def _ordered(
    named: Mapping[str, Mapping[str, int]],
    seen: Mapping[str, Seen],
    order: Sequence[str] | None,
    declared: Sequence[str] | None,
    open_ended: bool,
) -> tuple[list[str], list[str]]:
    known = list(order or declared or sorted(named["train"], key=_sort_key))
    warnings: list[str] = []
    for split, labels in named.items():
        for label, row in labels.items():
            if label in known:
                continue
            if order or declared or not open_ended:
                raise InputError(_unknown(seen[split].place, row, label, known, order is not None))
            warnings.append(f"{seen[split].place}: row {row}: the label {label!r} never comes in train")
            known.append(label)
    return known, warnings


def _sort_key(name: str) -> tuple[int, int, str]:
    digits = name.removeprefix("-")
    return (0, int(name), name) if digits.isdecimal() and digits.isascii() else (1, 0, name)


def _unknown(place: str, row: int, label: str, known: Sequence[str], given: bool) -> str:
    hint = did_you_mean(label, known)
    whose = "in the recipe's `labels`" if given else "a label of train"
    return (
        f"{place}: row {row}: the label {label!r} is not {whose}{hint} (they are: {', '.join(known[:20])}); "
        "mend the row, or map it with `label_names`, or put rows without labels in an `unlabeled` file"
    )


def _check_spread(train: Mapping[str, int], seen: Seen) -> None:
    if len(train) < 2:
        only = next(iter(train), "none")
        raise InputError(f"{seen.place}: every row has the label {only!r}; training needs at least two labels")
    rows = sum(seen.counts.values())
    if len(train) > MANY or (rows >= 20 and len(train) > rows / 2):
        raise InputError(
            f"{seen.place}: {len(train)} different labels in {rows} rows, such as {next(iter(train))!r:.40}; "
            "is this the label column? (for scores use the task `regress`)"
        )
