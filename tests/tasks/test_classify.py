"""classify: rows, batches, loss and metrics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from compress.core.errors import JobError
from tests.tasks.tools import features, generator, task

INDEX = {"neg": 0, "pos": 1}


def test_rows_become_normalised_columns() -> None:
    """Source columns of any name must reach training under one name, labels as indices."""
    one = task("classify", text="sentence", text_pair="other", label="y")
    row = {"sentence": "a", "other": "b", "y": "pos", "id": 3}
    assert one.sources() == {"text": "sentence", "text_pair": "other", "label": "y"}
    assert one.label_values(row) == ["pos"]
    assert one.normalise(row, INDEX) == {"text": "a", "text_pair": "b", "label": 1}
    assert one.normalise({"sentence": "a", "other": "b"}, INDEX) == {"text": "a", "text_pair": "b"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": None, "label": "pos"}, "expected a text, came nothing"),
        ({"text": float("nan"), "label": "pos"}, "came float nan"),
        ({"text": "  ", "label": "pos"}, "the text is empty"),
        ({"text": "a", "label": "other"}, "'other' is not a known label"),
        ({"text": "a", "label": ["pos"]}, "is not a known label"),
    ],
)
def test_unusable_rows_say_why(row: dict[str, Any], reason: str) -> None:
    """A NaN cell of a table must not be trained on as the text `nan`."""
    with pytest.raises(ValueError, match=reason):
        task("classify").normalise(row, INDEX)


def test_batch_pads_to_its_longest_row(word_piece: Any) -> None:
    """Padding that is attended, or padded to max_length, is wrong or slow."""
    one = task("classify", text_pair="other")
    rows = [{"text": "good", "text_pair": "bad", "label": 1}, {"text": "The film", "text_pair": "a b c", "label": 0}]
    made = features(one, word_piece, rows)
    batch = one.collate(made, word_piece.pad_token_id, generator())
    lengths = [len(row["input_ids"]) for row in made]
    assert batch["input_ids"].shape == (2, max(lengths))
    assert batch["attention_mask"].sum(-1).tolist() == lengths
    assert batch["token_type_ids"].max() == 1
    assert batch["labels"].tolist() == [1, 0] and batch["outputs"].all()
    unlabelled = features(one, word_piece, [{"text": "a", "text_pair": "b"}])
    assert "labels" not in one.collate(unlabelled, 0, generator())


def test_hard_loss_is_the_mean_over_rows() -> None:
    """A loss averaged over the class axis too would shrink with the number of classes."""
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]])
    loss = task("classify").hard_loss(logits, torch.tensor([1, 0]), torch.tensor([True, True]))
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_scores_by_hand() -> None:
    """Metrics on three classes where one is never predicted."""
    one = task("classify")
    logits = np.array([[2.0, 1, 0], [0, 2, 1], [0, 2, 1], [3, 0, 0]])
    labels = np.array([0, 1, 2, 0])
    scores = one.score(logits, labels, ["a", "b", "c"])
    assert scores["accuracy"] == 0.75
    assert scores["f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert 0 < scores["mcc"] < 1
    assert one.chance(labels) == 0.5
    assert one.score(np.array([[1.0, 0], [1, 0]]), np.array([0, 0]), ["a", "b"])["mcc"] == 0.0
    with pytest.raises(JobError, match="NaN"):
        one.score(np.array([[float("nan"), 0.0]]), np.array([0]), ["a", "b"])
