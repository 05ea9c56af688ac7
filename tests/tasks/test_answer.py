"""answer: windows, positions, unlabelled rows, and SQuAD's metric."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from compress.core.errors import InputError, JobError
from compress.runtime.spans import best_span
from compress.tasks.answer import FILL
from compress.tasks.squad_metric import judged
from tests.tasks.tools import features, generator, task

CONTEXT = "The film is not bad, she said, but it was fun and the end is good: 12 of 30 plots work in a happy end."
ROW = {"question": "was it good?", "context": CONTEXT, "answers": [{"text": "happy end", "answer_start": 92}]}


def _windows(tokenizer: Any, row: dict[str, Any] = ROW, length: int = 32, **options: Any) -> list[dict[str, Any]]:
    return features(task("answer", **options), tokenizer, [row], length)


@pytest.mark.parametrize("kind", ["word_piece", "byte_pairs"])
def test_a_long_context_is_read_in_windows(kind: str, request: pytest.FixtureRequest) -> None:
    """A context cut at max_length loses every answer behind it; windows overlap so that none is cut in two."""
    tokenizer = request.getfixturevalue(kind)
    one, made = task("answer"), _windows(tokenizer)
    assert len(made) > 1 and {window["row"] for window in made} == {0}
    assert all(len(window["input_ids"]) <= 32 for window in made)
    edges = []
    for window in made:
        first, after = window["inside"]
        edges.append((window["offsets"][first][0], window["offsets"][after - 1][1]))
        start, end = window["labels"]
        if start:
            assert CONTEXT[window["offsets"][start][0] : window["offsets"][end][1]] == "happy end"
        else:
            assert end == 0
    assert edges[-1][1] == len(CONTEXT) and any(window["labels"] != [0, 0] for window in made)
    assert all(after[0] < before[1] for before, after in itertools.pairwise(edges))
    batch = one.collate(made, tokenizer.pad_token_id, generator())
    assert batch["outputs"].shape == batch["labels"].shape == (len(made), 2)
    assert not (batch["allowed"] & (batch["attention_mask"] == 0)).any()


def test_no_answer_can_stand_in_the_question(word_piece: Any) -> None:
    """A probability on question or padding would be distilled, and once be read as an answer."""
    one, made = task("answer"), _windows(word_piece)
    batch = one.collate(made, 0, generator())
    raw = torch.randn(*batch["input_ids"].shape, 2, generator=generator(1))
    logits = one.arrange(raw, batch)
    assert logits.shape == (len(made), 2, raw.shape[1])
    assert (logits.transpose(1, 2)[~batch["allowed"]] == FILL).all()
    assert torch.equal(logits[:, :, 0], raw[:, 0])
    assert torch.isfinite(logits.bfloat16()).all()


def test_the_best_window_answers(word_piece: Any) -> None:
    """Windows judged one by one would count a row several times, most of them wrong."""
    one, made = task("answer"), _windows(word_piece)
    batch = one.collate(made, 0, generator())
    raw = torch.zeros(*batch["input_ids"].shape, 2)
    place = next(at for at, window in enumerate(made) if window["labels"] != [0, 0])
    raw[:, 0] = 5.0  # every window says that the answer is not in it
    for side, token in enumerate(made[place]["labels"]):
        raw[place, token, side] = 9.0
    flat, labels = one.flatten(one.arrange(raw, batch), batch["labels"], batch["outputs"])
    outputs, truth = one.by_row(made, [flat[[at]] for at in range(len(made))], list(labels[:, None]))
    assert len(outputs) == len(truth) == 1 and outputs[0][0].tolist() == [1.0, 1.0, 92.0, 101.0]
    assert one.score(np.concatenate(outputs), np.concatenate(truth), []) == {"f1": 1.0, "exact": 1.0}
    assert 0 < one.chance(np.concatenate(truth)) < 0.2
    raw[0, made[0]["inside"][0]] = float("nan")
    flat, _ = one.flatten(one.arrange(raw, batch), batch["labels"], batch["outputs"])
    outputs, _ = one.by_row(made, [flat[[at]] for at in range(len(made))], list(labels[:, None]))
    with pytest.raises(JobError, match="NaN"):
        one.score(np.concatenate(outputs), np.concatenate(truth), [])


def test_spans_end_after_they_begin_and_are_short() -> None:
    """The likeliest start and the likeliest end, each by itself, may stand in the wrong order or far apart."""
    logits = np.full((8, 2), -9.0)
    logits[6, 0], logits[2, 1] = 5.0, 5.0
    logits[1, 0], logits[7, 1] = 4.0, 4.0
    context = np.array([False, True, True, True, True, True, True, True])
    found = best_span(logits, context, 3)
    assert found.start <= found.end <= found.start + 2
    sums = {(i, j): logits[i, 0] + logits[j, 1] for i in range(1, 8) for j in range(i, min(i + 3, 8))}
    assert (found.start, found.end) == max(sums, key=lambda span: sums[span])
    shifted = best_span(logits + 7.0, context, 3)
    assert shifted.score == pytest.approx(found.score)  # a constant added to a window's logits means nothing


def test_rows_without_answers_mix_with_answered_ones(word_piece: Any) -> None:
    """Position 0 in place of an unknown answer would teach that there is none."""
    one = task("answer")
    rows = [{**ROW, "context": CONTEXT[:40], "answers": None}, {**ROW, "context": CONTEXT[60:], "answers": None}]
    rows[0]["answers"] = [{"text": "film", "answer_start": 4}]
    made = features(one, word_piece, rows, 64)
    batch = one.collate(made, 0, generator())
    assert batch["labels"][1].tolist() == [-100, -100] and (batch["labels"][0] > 0).all()
    logits = torch.randn(2, 2, batch["input_ids"].shape[1], generator=generator(1))
    loss = one.hard_loss(logits, batch["labels"], batch["outputs"])
    logits[1] += torch.arange(logits.shape[-1])
    assert torch.equal(loss, one.hard_loss(logits, batch["labels"], batch["outputs"]))
    assert one.hard_loss(logits[1:], batch["labels"][1:], batch["outputs"][1:]) == 0


@pytest.mark.parametrize(
    ("said", "answers", "exact", "f1"),
    [
        ("The Cat!", ["cat"], 1.0, 1.0),
        ("a happy end", ["the happy end of it"], 0.0, 2 * 2 / (2 + 4)),
        ("cat cat", ["cat dog cat", "bird"], 0.0, 2 * 2 / (2 + 3)),
        ("bird", ["cat", "a bird"], 1.0, 1.0),
        ("", ["cat"], 0.0, 0.0),
    ],
)
def test_squad_metric_by_hand(said: str, answers: list[str], exact: float, f1: float) -> None:
    """Case, punctuation and articles do not count; repeated words count as often as both have them."""
    assert judged(said, answers) == (exact, pytest.approx(f1))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"context": " "}, "column 'context': the text is empty"),
        ({"question": None}, "column 'question': expected a text"),
        ({"answers": [{"text": "sad", "answer_start": 92}]}, "'sad' does not stand at character 92.*'hap' does"),
        ({"answers": [{"text": "end", "answer_start": -9}]}, "does not stand at character -9"),
        ({"answers": []}, "no answer"),
        ({"answers": "happy end"}, "expected a list of {text, answer_start}, came str"),
        ({"answers": [{"text": "end"}]}, "expected {text, answer_start}"),
        ({"answers": {"text": ["end"], "answer_start": []}}, "lists of one length"),
    ],
)
def test_unusable_rows_say_why(change: dict[str, Any], reason: str) -> None:
    """An answer that is a character off trains a model to be a character off."""
    with pytest.raises(ValueError, match=reason):
        task("answer").normalise({**ROW, **change}, {})


def test_both_layouts_of_answers_are_read() -> None:
    """`datasets` writes two lists where SQuAD's files have a list of objects."""
    answers = {"text": ["happy end", "end"], "answer_start": [92, 98]}
    found = task("answer").normalise({**ROW, "answers": answers}, {})["answers"]
    assert found == [{"text": "happy end", "answer_start": 92}, {"text": "end", "answer_start": 98}]


def test_a_question_that_fills_the_window_is_refused(word_piece: Any) -> None:
    """tokenizers stops with an error of its own there, without the row."""
    with pytest.raises(InputError, match=r"row 1: the question has .* tokens; with max_length 12"):
        _windows(word_piece, {**ROW, "question": "was it good? " * 8}, 12)
