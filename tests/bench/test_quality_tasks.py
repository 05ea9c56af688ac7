"""Label sets, answers and embeddings in bench: fast forms equal the task's own scores, and what got worse is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compress.bench.quality.answers import Answers, has_gold
from compress.bench.quality.flips import flips
from compress.bench.quality.paired import agreement, paired
from compress.bench.quality.scored import Scored, scored
from compress.bench.quality.slices import slices
from compress.tasks.base import Task
from tests.tasks.tools import task as task_of

COUNT = 36
LABELS = ["fun", "long", "sad"]
OPTIONS: dict[str, dict[str, Any]] = {
    "pairs": {"text_pair": "text_pair"},
    "scored": {"text_pair": "text_pair", "target": "score", "highest": 1.0},
}


def _rows(kind: str) -> list[dict[str, Any]]:
    draw = np.random.default_rng(3)
    texts = [" ".join(f"w{n}" for n in draw.integers(0, 40, draw.integers(3, 12))) for _ in range(COUNT)]
    if kind == "multilabel":
        return [{"text": text, "labels": draw.integers(0, 2, 3).tolist()} for text in texts]
    if kind == "answer":
        return [
            {"question": "which?", "context": text, "answers": [{"text": text.split()[1], "answer_start": 3}]}
            for text in texts
        ]
    return [{"text": text, "text_pair": text[::-1], "score": float(draw.random())} for text in texts]


def _said(kind: str, rows: list[dict[str, Any]], seed: int) -> list[np.ndarray]:
    """What a student's process hands over for each row; the first seed is right more often."""
    draw = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    for row in rows:
        good = draw.random() < (0.8 if seed == 1 else 0.4)
        if kind == "multilabel":
            marks = np.array(row["labels"]) * 2.0 - 1
            found.append((marks if good else -marks)[None] * draw.random())
        elif kind == "answer":
            start = row["context"].index(row["answers"][0]["text"])
            found.append(np.array([[start, start + len(row["answers"][0]["text"])]] if good else [[0, 7]]))
        elif kind == "scored":
            angle = np.arccos(row["score"] if good else 1 - row["score"])
            found.append(np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]]))
        else:
            first = draw.normal(size=5)
            near = first + (0.1 if good else 9.0) * draw.normal(size=5)
            found.append(np.stack([first, near]))
    return found


def _scored(kind: str, seed: int) -> tuple[Task, list[dict[str, Any]], Scored]:
    one, rows = task_of(kind if kind not in OPTIONS else "embed", **OPTIONS.get(kind, {})), _rows(kind)
    outputs, truth = one.judge(rows, _said(kind, rows, seed)) or ([], [])
    answers = Answers(outputs, [np.zeros(len(out), dtype=np.int64) for out in outputs], truth)
    return one, rows, scored(one, rows, answers, LABELS if kind == "multilabel" else [], 5)


@pytest.mark.parametrize("kind", ["multilabel", "answer", "pairs", "scored"])
def test_every_metric_is_drawn_and_compared(kind: str) -> None:
    """A fast form that means another metric is dropped in silence, and thousands of draws become a hundred."""
    one, rows, mine = _scored(kind, 2)
    _, _, theirs = _scored(kind, 1)
    assert has_gold(rows[0], one)
    slow = {"average_precision"}
    assert set(mine.forms) == set(mine.scores) - slow and one.metric in mine.forms
    assert mine.units is None and theirs.scores[one.metric] > mine.scores[one.metric]
    drop = paired(one.metric, mine, theirs, True)
    assert drop["test"] == "bootstrap" and drop["drop"]["value"] > 0
    alike = agreement(mine, theirs)["value"]
    assert (alike is None) == (kind in OPTIONS) and (alike is None or 0 < alike < 1)
    by_length = slices(one.metric, rows, LABELS, mine, theirs)
    assert {line["by"] for line in by_length} == {"length"}


@pytest.mark.parametrize(
    ("kind", "label"), [("multilabel", "fun"), ("answer", "w"), ("pairs", "rank 1"), ("scored", "0.")]
)
def test_what_got_worse_is_shown(kind: str, label: str) -> None:
    """A reader who is told of a drop wants to see the rows, with what was right and what both said."""
    _, rows, mine = _scored(kind, 2)
    _, _, theirs = _scored(kind, 1)
    lines = flips(rows, LABELS, mine, theirs)
    assert 0 < len(lines) <= 20
    assert all(line["kind"] == "lost" and line["subject"] != line["reference"] for line in lines)
    assert any(label in line["label"] for line in lines)
    assert all(line["text"].split(" | ")[0] in str(rows[line["row"]].values()) for line in lines)


def test_single_texts_have_nothing_to_be_scored_on() -> None:
    """Rows of text alone must say so, not fail."""
    assert not has_gold({"text": "a"}, task_of("embed"))


def _ranked(outputs: list[float]) -> tuple[Task, Scored]:
    one = task_of("regress", text_pair="text_pair", group="group")
    rows = [{"text": "a", "text_pair": "b", "group": f"q{n % 12}", "score": float(n % 5)} for n in range(48)]
    said, truth = one.judge(rows, [np.array([[value]]) for value in outputs]) or ([], [])
    answers = Answers(said, [np.zeros(1, dtype=np.int64) for _ in said], truth)
    return one, scored(one, rows, answers, [], 20)


def test_candidates_are_drawn_by_whole_groups() -> None:
    """Draws of single rows would compare a candidate with itself, and leave others with none."""
    draw = np.random.default_rng(1)
    one, right = _ranked([float(n % 5) for n in range(48)])
    _, half = _ranked([float(n % 5) + 2 * float(draw.normal()) for n in range(48)])
    assert right.scores["group_spearman"] == pytest.approx(1.0)
    assert right.draws["group_spearman"] == pytest.approx(np.ones(20)) and set(right.draws) == set(right.scores)
    assert half.draws["group_spearman"].std() > 0
    low, high = np.quantile(half.draws["group_spearman"], [0.0, 1.0])
    assert low < half.scores["group_spearman"] < high
    assert paired(one.metric, half, right, True)["drop"]["value"] > 0
