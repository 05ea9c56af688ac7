"""mask: what is hidden, and what is asked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from compress.core.errors import InputError
from tests.runtime import tiny
from tests.tasks.tools import features, generator, task


def _batch(tokenizer: Any, seed: int = 0, rows: int = 400) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    one = task("mask")
    made = features(one, tokenizer, [{"text": tiny.TEXTS[row % 4]} for row in range(rows)])
    batch = one.collate(made, tokenizer.pad_token_id, generator(seed))
    width = batch["input_ids"].shape[1]
    return batch, torch.tensor([row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in made])


def test_shares_of_hidden_tokens(word_piece: Any) -> None:
    """15 % are asked; of these 80 % hidden, 10 % replaced, 10 % left: other shares are another objective."""
    batch, plain = _batch(word_piece)
    chosen, ids = batch["outputs"], batch["input_ids"]
    special = sum(plain == index for index in word_piece.all_special_ids if index != word_piece.unk_token_id) > 0
    real = batch["attention_mask"].bool() & ~special
    assert not (chosen & ~real).any()
    assert chosen.sum() / real.sum() == pytest.approx(0.15, abs=0.02)
    hidden, same = (ids == word_piece.mask_token_id)[chosen], (ids == plain)[chosen]
    assert hidden.float().mean() == pytest.approx(0.8, abs=0.04)
    assert same.float().mean() == pytest.approx(0.1, abs=0.03)
    assert torch.equal(ids[~chosen], plain[~chosen])
    assert torch.equal(batch["labels"][chosen], plain[chosen])


def test_draws_come_from_the_generator_alone(word_piece: Any) -> None:
    """A draw from torch's global state would make a resumed run another run."""
    one, _ = _batch(word_piece, 3, 8)
    torch.manual_seed(99)
    two, _ = _batch(word_piece, 3, 8)
    other, _ = _batch(word_piece, 4, 8)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["outputs"], other["outputs"])


def test_a_short_batch_still_asks_something(word_piece: Any) -> None:
    """One short text often draws no token at 15 %, and a mean over none is NaN."""
    one = task("mask")
    made = features(one, word_piece, [{"text": "good"}])
    for seed in range(20):
        assert one.collate(made, 0, generator(seed))["outputs"].sum() >= 1


def test_flatten_keeps_two_numbers_for_each_token() -> None:
    """Whole vocabularies of a dev split would need gigabytes."""
    one = task("mask")
    logits = torch.tensor([[[0.0, math.log(3.0)], [5.0, 0.0]]])
    labels, outputs = torch.tensor([[1, -100]]), torch.tensor([[True, False]])
    flat, truth = one.flatten(logits, labels, outputs)
    assert flat.tolist() == [[pytest.approx(math.log(4 / 3)), 1.0]]
    assert truth.tolist() == [1]
    assert one.hard_loss(logits, labels, outputs).item() == pytest.approx(math.log(4 / 3))
    assert one.score(flat, truth, []) == {"accuracy": 1.0, "perplexity": pytest.approx(4 / 3)}
    assert one.chance(np.array([3, 3, 5])) == pytest.approx(2 / 3)
    assert math.isfinite(one.score(np.array([[1e9, 0.0]]), truth, [])["perplexity"])


def test_a_tokenizer_without_mask_token_is_refused(word_piece: Any) -> None:
    """GPT-like tokenizers have none, and None as an id would fail far from here."""
    other = tiny.word_piece()
    other.mask_token = None
    with pytest.raises(InputError, match="no mask token"):
        task("mask").encode(other, {"text": ["a"]}, 8)
