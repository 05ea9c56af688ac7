"""What every task of the catalogue must keep, whoever wrote it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from compress.tasks.base import TASKS, Task
from tests.runtime import tiny
from tests.tasks.tools import features, generator, task

NAMES = {"classify": ["bad", "good", "fair"], "tag": ["O", "B-PER", "I-PER"]}
RAW: dict[str, list[dict[str, Any]]] = {
    "classify": [{"text": text, "label": NAMES["classify"][n % 3]} for n, text in enumerate(tiny.TEXTS)],
    "regress": [{"text": text, "score": n / 2} for n, text in enumerate(tiny.TEXTS)],
    "tag": [
        {"tokens": text.split(), "tags": [NAMES["tag"][n % 3] for n, _ in enumerate(text.split())]}
        for text in tiny.TEXTS
    ],
    "mask": [{"text": text} for text in tiny.TEXTS],
}


def _made(name: str, tokenizer: Any) -> tuple[Task, list[dict[str, Any]]]:
    one = task(name)
    index = {label: place for place, label in enumerate(NAMES.get(name, []))}
    assert {label for row in RAW[name] for label in one.label_values(row)} == set(index)
    rows = [one.normalise(row, index) for row in RAW[name]]
    assert all(set(row) == set(one.sources()) for row in rows)
    return one, features(one, tokenizer, rows)


@pytest.mark.parametrize("name", TASKS.names())
def test_a_task_goes_from_rows_to_metrics(name: str, word_piece: Any) -> None:
    """A task that breaks anywhere between a row and its metric breaks every step that trains."""
    one, made = _made(name, word_piece)
    model = tiny.model_of("bert", name, word_piece, NAMES.get(name, []))
    assert type(model) in dict(getattr(transformers, one.auto_class)._model_mapping).values()
    batch = one.collate(made, word_piece.pad_token_id, generator())
    shape = batch["input_ids"].shape
    assert batch["outputs"].dtype == torch.bool and batch["outputs"].shape == (shape if one.token_level else shape[:1])
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "outputs")}
    logits = model(**inputs).logits
    loss = one.hard_loss(logits, batch["labels"], batch["outputs"])
    loss.backward()
    assert loss.shape == () and math.isfinite(loss.item())
    flat, labels = one.flatten(logits.detach(), batch["labels"], batch["outputs"])
    assert len(flat) == len(labels) == int(batch["outputs"].sum())
    scores = one.score(flat, labels, NAMES.get(name, []))
    assert one.metric in scores
    assert all(type(value) is float and math.isfinite(value) for value in scores.values())
    assert 0 <= one.chance(labels) <= 1


@pytest.mark.parametrize("name", TASKS.names())
def test_one_row_at_a_time_flattens_to_the_same(name: str, word_piece: Any) -> None:
    """Evaluation joins batches: what `flatten` gives must not depend on how rows were grouped or padded."""
    one, made = _made(name, word_piece)
    batch = one.collate(made, word_piece.pad_token_id, generator())
    classes = len(word_piece) if name == "mask" else max(len(NAMES.get(name, [])), 1)
    shape = (*batch["outputs"].shape, classes)
    logits = torch.randn(shape, generator=generator(1))
    whole = one.flatten(logits, batch["labels"], batch["outputs"])
    parts = [
        one.flatten(logits[[n]], batch["labels"][[n]], batch["outputs"][[n]]) for n in range(len(batch["outputs"]))
    ]
    for place in (0, 1):
        np.testing.assert_allclose(np.concatenate([part[place] for part in parts]), whole[place], rtol=1e-5)


@pytest.mark.parametrize("name", TASKS.names())
def test_nothing_is_left_to_guess_for_unlabelled_rows(name: str, word_piece: Any) -> None:
    """Unlabelled text distils; a task that needs a label column there would stop it."""
    one = task(name)
    rows = [
        one.normalise({key: value for key, value in row.items() if key in ("text", "tokens")}, {}) for row in RAW[name]
    ]
    batch = one.collate(features(one, word_piece, rows), word_piece.pad_token_id, generator())
    assert batch["outputs"].any()
    assert ("labels" in batch) == (name == "mask")
