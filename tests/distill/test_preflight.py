"""What is told of data and time before training."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.artifact import ArtifactWriter
from compress.corpora.corpus import Corpus
from compress.distill.preflight import cut_off, duration, overlap, projected_seconds
from tests.teachers.helpers import Ears, corpus_of, sentences

TASK = {"classify": {"text": "text", "text_pair": None, "label": "label"}}


def test_dev_rows_that_stand_in_train_are_told(tmp_path: Path) -> None:
    """Prevents a student whose score is its memory: 16 of 64 dev rows are rows of train."""
    train = sentences(64, 1)
    folder = corpus_of(tmp_path / "corpus", {"train": train, "dev": train[:16] + sentences(48, 2)}, TASK, ["a", "b"])
    ears = Ears()
    assert overlap(Corpus.open(folder), ears) == {"dev": 0.25}
    (warning,) = ears.warnings
    assert warning.startswith("25.0% of dev also stands in train") and "remove those rows" in warning


def test_what_prepare_counted_is_not_counted_again(tmp_path: Path) -> None:
    """Prevents reading a large corpus once more for numbers that its manifest holds."""
    writer = ArtifactWriter(tmp_path / "corpus")
    writer.open()
    about = {"task": TASK, "labels": [], "rows": {}, "checks": {"overlap": {"dev": 0.004, "test": 0.5}}}
    folder = writer.commit({"kind": "Corpus", "key": "k", "about": about})
    ears = Ears()
    assert overlap(Corpus.open(folder), ears) == {"dev": 0.004, "test": 0.5}
    assert len(ears.warnings) == 1 and "50.0% of test" in ears.warnings[0]


def test_rows_that_are_cut_are_told() -> None:
    """Prevents a student that never sees the end of half its texts: 2 of 4 rows fill 8 tokens."""
    rows = [{"input_ids": [0] * length} for length in (3, 8, 8, 7)]
    ears = Ears()
    assert cut_off(rows, 8, ears) == 0.5 and "50.0% of the training rows fill max_length (8 tokens)" in ears.warnings[0]
    quiet = Ears()
    pairs = [{"input_ids": [1], "second": [0] * 8}, {"input_ids": [1], "second": None}]
    assert cut_off(pairs, 8, ears, theirs=True) == 0.5 and "fill what the teacher reads (8 tokens)" in ears.warnings[1]
    assert cut_off(rows, 9, quiet) == 0.0 and cut_off([], 9, quiet) == 0.0 and not quiet.warnings


def test_time_goes_with_tokens() -> None:
    """Prevents a projection from the number of rows: 3 epochs of 400 tokens at 100 tokens in 2 s are 24 s."""
    assert projected_seconds([100, 300], 3, 100, 2.0) == 24.0
    assert [duration(s) for s in (24, 720, 12_240)] == ["24 s", "12 min", "3.4 h"]
    assert projected_seconds([], 3, 0, 0.0) == pytest.approx(0.0)
