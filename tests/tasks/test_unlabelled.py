"""Rows with and without labels in one batch: one tensor, and a loss of the labelled ones alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from compress.core.trace import Trace
from compress.losses.hard_ce import HardCE
from compress.losses.hard_mse import HardMSE
from compress.tasks.features import encode_rows, with_unlabelled
from tests.tasks.tools import generator, task

ROWS: dict[str, list[dict[str, Any]]] = {
    "classify": [{"text": "a good film", "label": 1}, {"text": "bad", "label": 0}],
    "regress": [{"text": "a good film", "score": 2.5}, {"text": "bad", "score": 1.0}],
    "tag": [{"tokens": ["a", "good", "film"], "tags": [0, 1, 2]}, {"tokens": ["bad"], "tags": [1]}],
}
BARE = {"classify": {"text": "more"}, "regress": {"text": "more"}, "tag": {"tokens": ["more", "words"]}}
CLASSES = {"classify": 3, "regress": 1, "tag": 3}


def mixed(name: str, word_piece: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Two labelled rows and two without labels as one batch, and logits for it."""
    one = task(name)
    known = encode_rows(one, word_piece, ROWS[name], 16)
    features = with_unlabelled(one, known, encode_rows(one, word_piece, [BARE[name]] * 2, 16))
    batch = one.collate(features, word_piece.pad_token_id, generator())
    return batch, torch.randn(*batch["outputs"].shape, CLASSES[name], generator=generator(1), requires_grad=True)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_only_labelled_rows_count(name: str, word_piece: Any) -> None:
    """Prevents a label of -100 or NaN that is trained on, and a mean that unlabelled rows make smaller."""
    batch, logits = mixed(name, word_piece)
    labels, outputs = batch["labels"], batch["outputs"]
    assert len(labels) == 4 and outputs[2:].any()
    expected = task(name).hard_loss(logits[:2], labels[:2], outputs[:2])
    assert expected > 0 and torch.equal(task(name).hard_loss(logits, labels, outputs), expected)
    trace = Trace(mask=batch["attention_mask"].bool(), logits=logits, outputs=outputs, labels=labels)
    loss = HardMSE() if name == "regress" else HardCE()
    assert loss(trace).item() == pytest.approx(expected.item())
    loss(trace).backward()
    assert logits.grad is not None and logits.grad[:2].any() and not logits.grad[2:].any()


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_batch_without_a_label_costs_nothing(name: str, word_piece: Any) -> None:
    """Prevents NaN (a mean over none) in the first batch that holds unlabelled rows only."""
    batch, logits = mixed(name, word_piece)
    logits, labels, outputs = logits[2:], batch["labels"][2:], batch["outputs"][2:]
    trace = Trace(mask=batch["attention_mask"][2:].bool(), logits=logits, outputs=outputs, labels=labels)
    for loss in (task(name).hard_loss(logits, labels, outputs), (HardMSE() if name == "regress" else HardCE())(trace)):
        assert loss.item() == 0.0
        loss.backward(retain_graph=True)


def test_rows_that_are_all_alike_stay_as_they_are(word_piece: Any) -> None:
    """Prevents labels that are invented where a task has none (mask)."""
    one = task("mask")
    features = encode_rows(one, word_piece, [{"text": "a film"}, {"text": "more"}], 16)
    assert list(with_unlabelled(one, features[:1], features[1:])) == list(features)
