"""Small files and a task that knows nothing but columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compress.core.reporter import Reporter
from compress.corpora.normalise import Naming, Normalised, normalise
from compress.corpora.sources.base import Source


class Columns:
    """A task that copies its columns; `label` and `tags` become indices."""

    def __init__(self, **columns: str) -> None:
        self.columns = columns

    @property
    def spare(self) -> frozenset[str]:
        return frozenset()

    def sources(self) -> dict[str, str]:
        return dict(self.columns)

    def label_values(self, row: Mapping[str, Any]) -> list[Any]:
        if "tags" in self.columns:
            return list(row[self.columns["tags"]])
        return [row[self.columns["label"]]] if "label" in self.columns else []

    def normalise(self, row: Mapping[str, Any], index: Mapping[Any, int]) -> dict[str, Any]:
        plain = {normal: row[column] for normal, column in self.columns.items() if column in row}
        if "label" in plain:
            plain["label"] = index[plain["label"]]
        if "tags" in plain:
            plain["tags"] = [index[tag] for tag in plain["tags"]]
            if len(plain["tags"]) != len(plain["tokens"]):
                raise ValueError("words and tags differ in number")
        return plain


CLASSIFY = Columns(text="text", label="label")


def lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def labelled(*labels: Any) -> list[dict[str, Any]]:
    """Rows with differing texts and these labels."""
    return [{"text": f"text {number}", "label": label} for number, label in enumerate(labels)]


def brought(source: Source, task: Columns = CLASSIFY, **naming: Any) -> Normalised:
    """The normalised rows of a source."""
    return normalise(source, source.splits(1), task, Naming(**naming), "slice", Reporter())
