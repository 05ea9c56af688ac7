"""The source squad: SQuAD v1.1 documents as rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.core.reporter import Reporter
from compress.corpora.normalise import Naming, normalise
from compress.corpora.sources.squad import Squad
from tests.tasks.tools import task


def document(**question: Any) -> dict[str, Any]:
    """One article with one paragraph and one question."""
    asked = {"id": "q1", "question": "who?", "answers": [{"text": "Ann", "answer_start": 0}], **question}
    return {"version": "1.1", "data": [{"title": "T", "paragraphs": [{"context": "Ann went.", "qas": [asked]}]}]}


def test_published_names_and_plain_names_are_found(tmp_path: Path) -> None:
    """SQuAD's own files are called train-v1.1.json; a loader that wants them renamed is in the way."""
    for name in ("train-v1.1.json", "dev.json"):
        (tmp_path / name).write_text(json.dumps(document()))
    source = Squad(path=str(tmp_path))
    assert {split: path.name for split, (path,) in source.located().items()} == {
        "train": "train-v1.1.json",
        "dev": "dev.json",
    }
    raw = source.splits(1)
    assert raw["train"][0]["title"] == "T" and raw["train"][0]["id"] == "q1"
    found = normalise(source, raw, task("answer"), Naming(), "slice", Reporter())
    answers = [{"text": "Ann", "answer_start": 0}]
    assert found.rows["dev"] == [{"question": "who?", "context": "Ann went.", "answers": answers}]
    assert found.labels == []


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ("{", "not JSON"),
        (json.dumps([1]), "the document has no list 'data'"),
        (json.dumps({"data": [{}]}), r"data\[0\] has no list 'paragraphs'"),
        (json.dumps({"data": []}), "no questions"),
        (json.dumps(document(answers=[])), "row 1: a question without an answer"),
        (json.dumps(document(is_impossible=True)), "row 1: a question without an answer; .* v1.1"),
    ],
)
def test_other_documents_are_refused(tmp_path: Path, held: str, words: str) -> None:
    """SQuAD v2's unanswerable questions, taken as answered at character 0, would teach nonsense."""
    (tmp_path / "train.json").write_text(held)
    with pytest.raises(InputError, match=words):
        Squad(path=str(tmp_path)).splits(1)


def test_an_answer_that_is_not_there_is_named_by_its_row(tmp_path: Path) -> None:
    """Offsets that count bytes, or another version of the context, are off by a little everywhere."""
    (tmp_path / "train.json").write_text(json.dumps(document(answers=[{"text": "went", "answer_start": 3}])))
    source = Squad(path=str(tmp_path))
    with pytest.raises(InputError, match=r"train\.json: row 1: column 'answers': the answer 'went' does not stand at"):
        normalise(source, source.splits(1), task("answer"), Naming(), "slice", Reporter())
