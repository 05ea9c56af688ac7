"""multilabel: rows, batches with unlabelled rows, loss and metrics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from compress.core.errors import JobError
from tests.tasks.tools import features, generator, task

INDEX = {"fun": 0, "long": 1, "sad": 2}


def test_rows_become_one_mark_for_each_label() -> None:
    """A model needs to be told what does not hold as well; a label named twice is still one label."""
    one = task("multilabel", labels="tags")
    row = {"text": "a", "tags": ["sad", "fun", "sad"]}
    assert one.label_values(row) == ["sad", "fun", "sad"]
    assert one.normalise(row, INDEX) == {"text": "a", "labels": [1, 0, 1]}
    assert one.normalise({"text": "a", "tags": []}, INDEX)["labels"] == [0, 0, 0]
    assert one.normalise({"text": "a"}, INDEX) == {"text": "a"}


def test_names_in_one_text_are_split() -> None:
    """A CSV has no lists: names stand in one cell, and an empty cell means none."""
    one = task("multilabel", separator=";")
    assert one.label_values({"text": "a", "labels": "sad; fun;"}) == ["sad", "fun"]
    assert one.normalise({"text": "a", "labels": ""}, INDEX)["labels"] == [0, 0, 0]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": "a", "labels": "fun"}, "expected a list of labels, came str 'fun'; for names in one text"),
        ({"text": "a", "labels": None}, "came nothing"),
        ({"text": "a", "labels": ["glad"]}, "'glad' is not a known label"),
        ({"text": " ", "labels": []}, "the text is empty"),
    ],
)
def test_unusable_rows_say_why(row: dict[str, Any], reason: str) -> None:
    """A text read letter by letter as labels trains without complaint."""
    with pytest.raises(ValueError, match=reason):
        task("multilabel").normalise(row, INDEX)


def test_rows_without_labels_mix_with_labelled_ones(word_piece: Any) -> None:
    """Zeros in place of unknown labels would teach that nothing holds."""
    one = task("multilabel")
    made = features(one, word_piece, [{"text": "good", "labels": [1, 0, 0]}, {"text": "The film", "labels": None}])
    made.append({name: value for name, value in made[0].items() if name != "labels"})
    batch = one.collate(made, word_piece.pad_token_id, generator())
    assert batch["labels"].tolist() == [[1, 0, 0], [-100] * 3, [-100] * 3]
    logits = torch.tensor([[0.0, math.log(3), 0.0], [5.0, 5, 5], [5, 5, 5]])
    loss = one.hard_loss(logits, batch["labels"], batch["outputs"])
    assert loss.item() == pytest.approx((math.log(2) + math.log(4) + math.log(2)) / 3)
    assert one.hard_loss(logits[1:], batch["labels"][1:], batch["outputs"][1:]) == 0


def test_scores_by_hand() -> None:
    """Micro and macro averages, sets and rankings say different things; a label that no row has ranks nothing."""
    one = task("multilabel")
    logits = np.array([[2.0, -1, -1], [1, 1, -2], [-1, 3, -3]])
    labels = np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 0]])
    scores = one.score(logits, labels, ["a", "b", "c"])
    assert scores["f1"] == pytest.approx(2 * 3 / (4 + 4))
    assert scores["macro_f1"] == pytest.approx((0.5 + 1.0) / 2)
    assert scores["exact"] == pytest.approx(1 / 3)
    # Label a ranks right, wrong, right: precision 1 at the first, 2/3 at the second hit. Label b is perfect.
    assert scores["average_precision"] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    with pytest.raises(JobError, match="NaN"):
        one.score(np.array([[np.nan]]), np.array([[1.0]]), ["a"])


def test_chance_is_the_best_set_said_of_every_row() -> None:
    """A teacher must beat always saying the frequent labels, not always saying none."""
    one = task("multilabel")
    labels = np.array([[1.0, 1, 0], [1, 0, 0], [1, 0, 1], [1, 1, 0]])
    every = [one.score(np.tile([4.0 * (n & b) - 0.5 for b in (1, 2, 4)], (4, 1)), labels, [])["f1"] for n in range(8)]
    assert one.chance(labels) == pytest.approx(max(every))
