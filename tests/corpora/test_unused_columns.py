"""Columns that no task reads may hold anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.corpora.sources.jsonl import JsonLines
from tests.corpora.tools import lines

ODD: list[Any] = [1, "one", None, ["a", 1], {"a": 1}, 10**30, "\ud800"]


def test_an_unused_column_may_mix_types(tmp_path: Path) -> None:
    """A data set whose ids are numbers here and texts there could not be read for its text and label."""
    rows = [{"text": f"text {place}", "label": place % 2, "meta": odd} for place, odd in enumerate(ODD)]
    source = JsonLines(train=str(lines(tmp_path / "train.jsonl", rows)))
    assert source.splits(1, ["text", "label"])["train"].column_names == ["label", "text"]
    with pytest.raises(InputError, match="row 2: column 'meta' is str 'one' here and int in the rows before"):
        source.splits(1, ["text", "meta"])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (10**30, "a whole number past 64 bits"),
        ("a\ud800", "a text that is not valid Unicode"),
        (["a", 1], "a list of several types"),
        ({"a": [1, "b"]}, "a dict of several types"),
    ],
)
def test_a_used_column_that_cannot_be_held_is_named(tmp_path: Path, value: Any, words: str) -> None:
    """Arrow's own message names neither file, row nor column."""
    path = lines(tmp_path / "train.jsonl", [{"text": type(value)()}, {"text": value}])
    with pytest.raises(InputError, match=rf"train.jsonl: row 2: column 'text' holds {words}"):
        JsonLines(train=str(path)).splits(1, ["text"])


def test_shards_may_differ_in_unused_columns(tmp_path: Path) -> None:
    """Shards written by different runs rarely agree in every column."""
    lines(tmp_path / "train-00000-of-00002.jsonl", [{"text": "a", "id": 1}])
    lines(tmp_path / "train-00001-of-00002.jsonl", [{"text": "b", "id": "x"}])
    assert JsonLines(path=str(tmp_path)).splits(1, ["text"])["train"]["text"][:] == ["a", "b"]
