"""tag: alignment of words and sub-tokens, cut words, and span metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.tasks.tools import features, generator, task

NAMES = ["O", "B-PER", "I-PER"]
ROWS = [
    {"tokens": ["She", "said", "goodplots", "plots"], "tags": [1, 0, 1, 2]},
    {"tokens": ["good"], "tags": [0]},
]


@pytest.mark.parametrize("kind", ["word_piece", "byte_pairs"])
def test_only_first_sub_tokens_count(kind: str, request: pytest.FixtureRequest) -> None:
    """A long word counted once per piece weighs more than its neighbours, and shifts every tag after it."""
    tokenizer = request.getfixturevalue(kind)
    one = task("tag")
    made = features(one, tokenizer, ROWS)
    batch = one.collate(made, tokenizer.pad_token_id, generator())
    assert len(made[0]["input_ids"]) > 6
    assert batch["outputs"].sum(-1).tolist() == [4, 1]
    assert batch["labels"][batch["outputs"]].tolist() == [1, 0, 1, 2, 0]
    assert (batch["labels"][~batch["outputs"]] == -100).all()
    assert not (batch["outputs"] & (batch["attention_mask"] == 0)).any()


def test_cut_words_are_counted(word_piece: Any) -> None:
    """Words past max_length that nobody counts make a short student look as good as a long one."""
    one = task("tag")
    made = features(one, word_piece, [{"tokens": ["good"] * 10, "tags": [0] * 10}, {"tokens": ["a"], "tags": [0]}], 6)
    assert [row["cut"] for row in made] == [6, 0]
    batch = one.collate(made, 0, generator())
    logits = torch.zeros(*batch["labels"].shape, 3)
    logits[..., 0] = 1
    flat, labels = one.flatten(logits, batch["labels"], batch["outputs"])
    assert labels.tolist() == [[0, 7], [0, 0], [0, 0], [0, 0], [0, 1]]
    scores = one.score(flat, labels, NAMES)
    assert scores["cut"] == pytest.approx(6 / 11)
    assert scores["accuracy"] == pytest.approx(5 / 11)


def test_span_f1_does_not_join_sentences() -> None:
    """An I- that begins a text must not prolong the span that ended the text before."""
    tags = np.array([1, 2, 2, 0])
    labels = np.stack([tags, np.array([1, 0, 1, 0])], axis=-1)
    logits = np.eye(3)[tags]
    scores = task("tag").score(logits, labels, NAMES)
    assert scores["f1"] == scores["precision"] == scores["recall"] == 1.0
    worse = np.eye(3)[[1, 2, 0, 0]]
    assert task("tag").score(worse, labels, NAMES)["recall"] == 0.5


def test_tags_that_are_not_bio_get_macro_f1() -> None:
    """seqeval reads parts of speech as nonsense spans."""
    labels = np.array([[0, 1], [0, 0], [1, 0]])
    scores = task("tag").score(np.eye(2)[[0, 0, 0]], labels, ["NOUN", "VERB"])
    assert scores["f1"] == pytest.approx((0.8 + 0) / 2)
    assert task("tag").chance(labels) == pytest.approx(scores["f1"])


def test_hard_loss_reads_words_only(word_piece: Any) -> None:
    """Padding and pieces must not count, and a batch without words is no NaN."""
    one = task("tag")
    batch = one.collate(features(one, word_piece, ROWS), 0, generator())
    logits = torch.randn(*batch["labels"].shape, 3, generator=generator(1))
    loss = one.hard_loss(logits, batch["labels"], batch["outputs"])
    logits[~batch["outputs"]] += 9
    assert torch.equal(loss, one.hard_loss(logits, batch["labels"], batch["outputs"]))
    assert one.hard_loss(logits, batch["labels"], torch.zeros_like(batch["outputs"])) == 0


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"tokens": "She said", "tags": ["O"]}, "expected a list of words, came str"),
        ({"tokens": ["She", 3], "tags": ["O", "O"]}, "expected a list of words"),
        ({"tokens": [], "tags": []}, "the list of words is empty"),
        ({"tokens": ["She", "said"], "tags": ["O"]}, "2 words in 'tokens' and 1 tags in 'tags'"),
        ({"tokens": ["She"], "tags": ["X"]}, "not a known label"),
    ],
)
def test_unusable_rows_say_why(row: dict[str, Any], reason: str) -> None:
    """Words and tags that do not pair up are a broken file, not a short sentence."""
    with pytest.raises(ValueError, match=reason):
        task("tag").normalise(row, {"O": 0, "B-PER": 1})
