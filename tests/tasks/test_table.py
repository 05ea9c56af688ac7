"""Features kept as columns: they read as dicts of lists do, and take a fraction of their memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
import torch

from compress.tasks.batch import width_of
from compress.tasks.features import FeatureTable, encode_rows, lengths, with_unlabelled
from compress.tasks.ragged import SMALL, Ragged
from tests.tasks.tools import task

ROWS = [[7, 8, 9], [], [5], [4, 30_000]]


def test_rows_of_integers_read_as_the_lists_they_were() -> None:
    """Prevents a row that begins or ends one number too early, and a negative place or slice read as another."""
    held = Ragged(ROWS[:1])
    held.extend(ROWS[1:])
    assert list(held) == ROWS and len(held) == 4
    assert [held[-1], held[-4]] == [ROWS[3], ROWS[0]]
    assert held[1:] == ROWS[1:] and held[::-2] == ROWS[::-2]
    for beyond in (4, -5):
        with pytest.raises(IndexError):
            held[beyond]


def test_a_row_that_was_read_can_be_changed() -> None:
    """Prevents a collator that hides tokens from hiding them in the corpus."""
    held = Ragged(ROWS)
    held[0].append(1)
    assert held[0] == ROWS[0]


def test_a_number_that_does_not_fit_is_refused() -> None:
    """Prevents an id that wraps around into another token."""
    assert list(Ragged([[-100, 1]], SMALL)) == [[-100, 1]]
    with pytest.raises(OverflowError):
        Ragged([[200]], SMALL)
    with pytest.raises(OverflowError):
        Ragged([[1 << 40]])


def test_columns_of_unequal_length_are_refused() -> None:
    """Prevents rows whose labels are those of their neighbours."""
    with pytest.raises(ValueError, match="labels"):
        FeatureTable({"input_ids": Ragged(ROWS), "labels": [0, 1, 0]})
    assert len(FeatureTable({})) == 0 and not FeatureTable({})


def test_a_corpus_of_features_is_small(word_piece: Any) -> None:
    """Prevents memory of training that grows by a kilobyte a row: dicts of lists of 20 tokens take 1,300 bytes."""
    one, rows = task("classify"), [{"text": "a good film and " * 4, "label": 1}] * 4000
    known = encode_rows(one, word_piece, rows[:10], 32)  # what the tokenizer sets up once
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        told = encode_rows(one, word_piece, rows, 32)
        both = with_unlabelled(one, known, told)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    tokens = sum(lengths(both))
    assert tokens > 40_000
    assert taken < 8 * tokens


def test_batches_are_padded_to_few_widths_and_never_beyond_what_a_model_reads(word_piece: Any) -> None:
    """A kernel and its memory for every length that a text can have; or a position that the model has no row for."""
    widths = [width_of(longest, 50) for longest in (1, 16, 17, 31, 33, 48, 49, 50, 60)]
    assert widths == [1, 16, 18, 32, 36, 48, 50, 50, 60]
    rows = [{"text": " ".join(["film"] * count), "label": 1} for count in (3, 14, 17)]
    for name in ("classify", "mask", "embed"):
        for most, wide in ((64, 20), (19, 19)):
            features = encode_rows(task(name), word_piece, rows, most)
            assert max(lengths(features)) == 19
            batch = task(name).collate(features, 0, torch.Generator().manual_seed(0))
            assert batch["input_ids"].shape == batch["attention_mask"].shape == (3, wide)
            assert batch["attention_mask"].sum(-1).tolist() == lengths(features)
