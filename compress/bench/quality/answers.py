"""One subject's outputs on the scored rows, and the places in them that carry a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.tasks.base import Task

Row = Mapping[str, Any]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
NOT_NAMED = "LABEL_"
UNSEEN = -1


@dataclass(frozen=True)
class Answers:
    """By row: `outputs` `[n, c]` in the corpus's label order, the number of each output's word, and the `truth` that
    `Task.score` takes beside them (see `gold_of`)."""

    outputs: list[NDArray[Any]]
    words: list[Ints]
    truth: list[NDArray[Any]]


@dataclass(frozen=True)
class Units:
    """Every place that should get a label, each `[n]`: the row it stands in, the right label, the one that was said
    (-1: cut away, the model did not see it) and the probability it was said with (NaN: not seen)."""

    row: Ints
    gold: Ints
    said: Ints
    sure: Floats

    @property
    def right(self) -> NDArray[np.bool_]:
        """Where the right label was said."""
        return np.asarray(self.gold == self.said)


def answers_of(
    paths: Sequence[Path], columns: list[int] | None, rows: Sequence[Row], task: Task | None = None
) -> Answers:
    """What the subject's process wrote (`inside/outputs.py`), with the truth of the rows."""
    found = {number: (outputs, words) for path in paths for number, outputs, words in _stored(path, columns)}
    outputs, words = [found[row][0] for row in range(len(rows))], [found[row][1] for row in range(len(rows))]
    judged = None if task is None else task.judge(rows, outputs)
    if judged is not None:
        return Answers(judged[0], words, judged[1])
    return Answers(outputs, words, [gold_of(row, seen) for row, seen in zip(rows, words, strict=True)])


def columns_of(model: Sequence[str], corpus: Sequence[str]) -> tuple[list[int] | None, str]:
    """The model's output column of each corpus label (None: as they are), or why they cannot be matched."""
    if not corpus or list(model) == list(corpus):
        return None, ""
    if sorted(model) == sorted(corpus):
        return [list(model).index(name) for name in corpus], ""
    if len(model) == len(corpus) and all(name.startswith(NOT_NAMED) for name in model):
        return None, ""
    return None, f"its labels ({', '.join(model)}) are not the corpus's ({', '.join(corpus)})"


def _stored(path: Path, columns: list[int] | None) -> Iterator[tuple[int, NDArray[np.float32], Ints]]:
    """Row number, its outputs `[n, c]`, columns in the corpus's label order, and the number of each output's word."""
    with np.load(path, allow_pickle=False) as stored:
        values, words, edges = stored["values"], stored["words"], np.cumsum(stored["counts"])[:-1]
        rows = stored["rows"].tolist()
    if columns is not None:
        values = values[:, columns]
    yield from zip(rows, np.split(values, edges), np.split(words, edges), strict=True)


def gold_of(row: Row, words: Ints) -> NDArray[Any]:
    """What `Task.score` wants beside the outputs of one row.

    For words: `[n, 2]`, the tag, and at the first word 1 + the words that the model did not see.
    """
    if "tags" in row:
        tags = np.asarray(row["tags"], dtype=np.int64)[words]
        starts = np.zeros(len(tags), dtype=np.int64)
        starts[:1] = 1 + len(row["tags"]) - len(tags)
        return np.stack([tags, starts], axis=-1)
    if "score" in row:
        return np.asarray([row["score"]], dtype=np.float64)
    return np.asarray([row["label"]], dtype=np.int64)


def has_gold(row: Row, task: Task) -> bool:
    """Whether a row says what is right. Of texts to embed, pairs do."""
    names = ("label", "score", "tags", "labels", "answers")
    return any(name in row for name in names) or (task.output == "vector" and task.scorable)


def units_of(answers: Answers, rows: Sequence[Row]) -> Units:
    """The units of a task with labels: one for each row, or for each word of it."""
    logits = np.concatenate(answers.outputs).astype(np.float64)
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    gold = [np.atleast_1d(np.asarray(row["tags"] if "tags" in row else row["label"], dtype=np.int64)) for row in rows]
    counts = np.array([len(one) for one in gold])
    starts = np.cumsum(counts) - counts
    seen = np.repeat(starts, [len(words) for words in answers.words]) + np.concatenate(answers.words)
    said = np.full(counts.sum(), UNSEEN, dtype=np.int64)
    sure = np.full(counts.sum(), np.nan)
    said[seen], sure[seen] = shares.argmax(-1), shares.max(-1)
    return Units(np.repeat(np.arange(len(rows)), counts), np.concatenate(gold), said, sure)
