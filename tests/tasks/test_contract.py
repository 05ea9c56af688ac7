"""What every task of the catalogue must keep, whoever wrote it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from compress.tasks.base import TASKS, Task
from compress.train.evaluate import inputs_of, rows_of
from tests.runtime import tiny
from tests.tasks.tools import features, generator, task

NAMES = {"classify": ["bad", "good", "fair"], "tag": ["O", "B-PER", "I-PER"], "multilabel": ["fun", "long", "sad"]}
OPTIONS: dict[str, dict[str, Any]] = {"embed": {"text_pair": "text_pair", "target": "score", "highest": 5.0}}
RAW: dict[str, list[dict[str, Any]]] = {
    "classify": [{"text": text, "label": NAMES["classify"][n % 3]} for n, text in enumerate(tiny.TEXTS)],
    "regress": [{"text": text, "score": n / 2} for n, text in enumerate(tiny.TEXTS)],
    "tag": [
        {"tokens": text.split(), "tags": [NAMES["tag"][n % 3] for n, _ in enumerate(text.split())]}
        for text in tiny.TEXTS
    ],
    "mask": [{"text": text} for text in tiny.TEXTS],
    "multilabel": [{"text": text, "labels": NAMES["multilabel"][: n % 4]} for n, text in enumerate(tiny.TEXTS)],
    "answer": [
        {
            "question": "is it good?",
            "context": f"{text} good {' '.join(tiny.TEXTS)}",
            "answers": [{"text": "good", "answer_start": len(text) + 1}],
        }
        for text in tiny.TEXTS
    ],
    "embed": [
        {"text": text, "text_pair": other, "score": n}
        for n, (text, other) in enumerate(zip(tiny.TEXTS, reversed(tiny.TEXTS), strict=True))
    ],
}
GIVEN = ("text", "text_pair", "tokens", "question", "context")  # what a row without labels has
KEPT = ("span", "vector")  # of these `flatten` keeps something of every feature, for `by_row`


def _made(name: str, tokenizer: Any) -> tuple[Task, list[dict[str, Any]]]:
    one = task(name, **OPTIONS.get(name, {}))
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
    assert getattr(transformers, one.auto_class)._model_mapping[type(model.config)] is type(model)
    batch = one.collate(made, word_piece.pad_token_id, generator())
    shape = batch["input_ids"].shape
    outputs = {"span": (len(made), 2), "vector": shape[:1]}.get(one.output, shape if one.token_level else shape[:1])
    assert batch["outputs"].dtype == torch.bool and batch["outputs"].shape == outputs
    logits = one.read(model(**inputs_of(batch, model.device)), batch)
    assert logits.shape[: len(outputs)] == outputs
    loss = one.hard_loss(logits, batch["labels"], batch["outputs"])
    loss.backward()
    assert loss.shape == () and math.isfinite(loss.item())
    flat, labels = one.flatten(logits.detach(), batch["labels"], batch["outputs"])
    assert len(flat) == len(labels) == (int(batch["outputs"].sum()) if one.output not in KEPT else len(made))
    if one.output in KEPT:
        parts = [[side[at : at + 1] for at in range(len(made))] for side in (flat, labels)]
        flat, labels = map(np.concatenate, one.by_row(made, *parts))
        assert len(flat) == len(labels) == len(RAW[name])
    scores = one.score(flat, labels, NAMES.get(name, []))
    assert one.metric in scores
    assert all(type(value) is float and math.isfinite(value) for value in scores.values())
    assert 0 <= one.chance(labels) <= 1


@pytest.mark.parametrize("name", TASKS.names())
def test_one_row_at_a_time_flattens_to_the_same(name: str, word_piece: Any) -> None:
    """Evaluation joins batches: what `flatten` gives must not depend on how rows were grouped or padded."""
    one, made = _made(name, word_piece)
    batch = one.collate(made, word_piece.pad_token_id, generator())
    raw = tiny.model_of("bert", name, word_piece, NAMES.get(name, []))(**inputs_of(batch, torch.device("cpu")))
    logits = one.read(raw, batch).detach()
    whole = one.flatten(logits, batch["labels"], batch["outputs"])
    owned = [rows_of(batch, n) for n in range(len(made))]
    parts = [one.flatten(logits[own], batch["labels"][own], batch["outputs"][own]) for own in owned]
    for place in (0, 1):
        np.testing.assert_allclose(np.concatenate([part[place] for part in parts]), whole[place], rtol=1e-5)


@pytest.mark.parametrize("name", TASKS.names())
def test_nothing_is_left_to_guess_for_unlabelled_rows(name: str, word_piece: Any) -> None:
    """Unlabelled text distils; a task that needs a label column there would stop it."""
    one = task(name, **OPTIONS.get(name, {}))
    rows = [one.normalise({key: row[key] for key in GIVEN if key in row}, {}) for row in RAW[name]]
    batch = one.collate(features(one, word_piece, rows), word_piece.pad_token_id, generator())
    assert batch["outputs"].any()
    if name == "embed":  # the pairs are told, their scores are not known
        assert batch["labels"][:, 1].isnan().all()
    else:
        assert ("labels" in batch) == (name == "mask")


@pytest.mark.parametrize("name", TASKS.names())
def test_many_rows_are_tokenized_a_few_at_a_time(name: str, word_piece: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a tokenizer keeps of a million texts takes gigabytes; and later rows must not be told as the first ones."""
    _, whole = _made(name, word_piece)
    monkeypatch.setattr("compress.tasks.batch.AT_ONCE", 3)
    calls: list[int] = []
    real = type(word_piece).__call__

    def counted(self: Any, text: Any, *given: Any, **options: Any) -> Any:
        calls.append(len(text))
        return real(self, text, *given, **options)

    monkeypatch.setattr(type(word_piece), "__call__", counted)
    assert str(_made(name, word_piece)[1]) == str(whole)
    assert max(calls) <= 3 < len(RAW[name])
