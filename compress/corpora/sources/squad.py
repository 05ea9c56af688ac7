"""SQuAD v1.1 as it is published: one JSON document of articles, paragraphs and questions (arXiv:1606.05250)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar

from datasets import Dataset

from compress.core.errors import InputError
from compress.corpora.files import FileSource, dataset_of, readable
from compress.corpora.sources.base import SOURCES

COLUMNS = ("id", "title", "context", "question", "answers")


@SOURCES.register("squad")
class Squad(FileSource):
    """SQuAD v1.1 files: `{path: folder}` with train-v1.1.json and dev-v1.1.json (or train.json, dev.json).

    One row for each question; columns id, title, context, question, and answers, a list of `{text, answer_start}`.
    """

    extensions: ClassVar[tuple[str, ...]] = (".json",)
    tail: ClassVar[re.Pattern[str]] = re.compile(r"-v\d+(\.\d+)*$")

    def read(self, path: Path, columns: Collection[str] | None = None) -> Dataset:
        """Every question of a file. Raises InputError for another layout, and for questions without an answer."""
        with readable(path):
            text = path.read_text(encoding="utf-8-sig")
        try:
            held = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: not JSON ({error}); for one object per line use the source jsonl") from error
        rows = list(_questions(held, path))
        if not rows:
            raise InputError(f"{path}: no questions in it")
        return dataset_of({name: [row[name] for row in rows] for name in COLUMNS}, path, columns)

    def columns(self, path: Path) -> list[str]:
        """The columns that every such file gives."""
        return list(COLUMNS)


def _questions(held: Any, path: Path) -> Iterator[dict[str, Any]]:
    number = 0
    for at, article in enumerate(_list(held, "data", path, "the document")):
        for paragraph in _list(article, "paragraphs", path, f"data[{at}]"):
            place = f"data[{at}].paragraphs"
            for question in _list(paragraph, "qas", path, place):
                number += 1
                answers = _list(question, "answers", path, f"{place}: question {number}")
                if question.get("is_impossible") or not answers:
                    raise InputError(
                        f"{path}: row {number}: a question without an answer; the task answer is SQuAD v1.1, where "
                        "every question has one: leave such questions out"
                    )
                yield {
                    "id": str(question.get("id", number)),
                    "title": str(article.get("title", "")),
                    "context": paragraph.get("context"),
                    "question": question.get("question"),
                    "answers": [{key: _get(one, key) for key in ("text", "answer_start")} for one in answers],
                }


def _list(held: Any, name: str, path: Path, place: str) -> list[Any]:
    found = _get(held, name)
    if not isinstance(found, list):
        raise InputError(f"{path}: not SQuAD v1.1: {place} has no list {name!r}; for rows one per line use jsonl")
    return found


def _get(held: Any, name: str) -> Any:
    return held.get(name) if isinstance(held, dict) else None
