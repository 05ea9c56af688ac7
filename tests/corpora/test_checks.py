"""Rows that are wrong, and what a corpus says about itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.corpora.checks import text_facts, warnings_of
from compress.corpora.sources.jsonl import JsonLines
from tests.corpora.tools import Columns, brought, labelled, lines

PAIR = Columns(text="text", text_pair="pair", label="label")
SCORE = Columns(text="text", score="score")
TAG = Columns(tokens="tokens", tags="tags")
GOOD = [
    {"text": "a", "pair": "b", "label": n % 2, "score": float(n), "tokens": ["a"], "tags": [n % 2]} for n in range(4)
]

BROKEN: dict[str, tuple[Columns, dict[str, Any], str]] = {
    "null text": (PAIR, {"text": None}, "'text' is missing"),
    "blank text": (PAIR, {"text": " \t"}, "'text' is blank"),
    "blank second text": (PAIR, {"pair": ""}, "'pair' is blank"),
    "null label": (PAIR, {"label": None}, "'label' is missing"),
    "NaN score": (SCORE, {"score": float("nan")}, "'score' is NaN"),
    "infinite score": (SCORE, {"score": float("-inf")}, "'score' is infinite"),
    "null score": (SCORE, {"score": None}, "'score' is missing"),
    "no tokens": (TAG, {"tokens": []}, "'tokens' is an empty list"),
    "a blank token": (TAG, {"tokens": [" "]}, "'tokens' is blank at position 1"),
    "a null tag": (TAG, {"tags": [None]}, "'tags' is missing at position 1"),
    "more tags than tokens": (TAG, {"tags": [0, 1]}, "words and tags differ in number"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_cells_name_file_and_row(name: str, tmp_path: Path) -> None:
    """Training on nothing, on NaN, or on a label that is none."""
    task, change, said = BROKEN[name]
    path = lines(tmp_path / "train.jsonl", [*GOOD[:2], {**GOOD[2], **change}, GOOD[3]])
    with pytest.raises(InputError) as caught:
        brought(JsonLines(train=str(path)), task)
    assert (
        f"{path}: row 3: " in str(caught.value) and said in str(caught.value) and "Mend or remove" in str(caught.value)
    )


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (Columns(text="score", label="label"), "should be text, came float"),
        (Columns(text="text", score="pair"), "should be a number, came str 'b'"),
        (Columns(tokens="text", tags="tags"), "should be a list, came str 'a'"),
    ],
)
def test_a_column_of_the_wrong_kind(task: Columns, said: str, tmp_path: Path) -> None:
    """The wrong column being read as text, scores or words."""
    with pytest.raises(InputError, match=said):
        brought(JsonLines(train=str(lines(tmp_path / "train.jsonl", GOOD))), task)


def test_only_the_first_rows_are_shown(tmp_path: Path) -> None:
    """A message of ten thousand lines."""
    path = lines(tmp_path / "train.jsonl", [*labelled("a", "b"), *[{"text": "", "label": "a"}] * 9])
    with pytest.raises(InputError, match=r"row 7[\s\S]*\.\.\. and 4 more\nMend or remove these rows\."):
        brought(JsonLines(train=str(path)))


def test_rows_without_labels_need_none(tmp_path: Path) -> None:
    """An unlabelled file refused for want of labels, or its stray label column read."""
    lines(tmp_path / "train.jsonl", [{**row, "slice": "s"} for row in labelled("a", "b")])
    lines(tmp_path / "unlabeled.jsonl", [{"text": "x", "label": None}, {"text": "y", "label": "zzz"}])
    found = brought(JsonLines(path=str(tmp_path)))
    assert found.rows["unlabeled"] == [{"text": "x"}, {"text": "y"}]
    assert found.slices and found.rows["train"][0] == {"text": "text 0", "label": 0, "slice": "s"}


def test_overlap_duplicates_conflicts_and_length() -> None:
    """Numbers on a test split that training has seen being reported as if they were clean."""
    train = [
        {"text": "A  b", "label": 0},
        {"text": "a b", "label": 1},
        {"text": "c", "label": 1},
        {"text": "d", "label": 0},
    ]
    test = [{"text": "a B", "label": 0}, {"text": "word " * 3000, "label": 1}]
    facts = text_facts({"train": train, "test": test})
    assert facts["overlap"] == {"test": 0.5} and facts["duplicates"] == {"train": 0.25, "test": 0.0}
    assert facts["conflicts"] == 1 and facts["longest_words"]["test"] == 3000
    said = "\n".join(warnings_of(facts))
    for part in (
        "50.0% of test also stands in train",
        "25.0% of train repeats",
        "1 texts of train carry",
        "3000 words",
    ):
        assert part in said


def test_pairs_are_compared_as_pairs() -> None:
    """A shared first text counted as overlap."""
    train, test = {"text": "a", "text_pair": "b", "label": 0}, {"text": "a", "text_pair": "c", "label": 1}
    assert text_facts({"train": [train], "test": [test]})["overlap"] == {"test": 0.0}
    assert warnings_of(text_facts({"train": [train], "test": [test]})) == []
