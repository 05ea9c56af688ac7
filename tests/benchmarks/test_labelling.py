"""The memory of labelling and of reading does not grow with the rows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.labelling import CHUNK, TEACHER, claims, measured, texts
from benchmarks.shapes import make_corpus, make_model


def test_the_claims_compare_the_most_rows_with_the_fewest() -> None:
    """A ratio the wrong way round is met by whatever grows."""
    rows = [
        {"rows": 100, "label_peak_mb": 500.0, "read_peak_mb": 400.0},
        {"rows": 1000, "label_peak_mb": 560.0, "read_peak_mb": 420.0},
    ]
    found = claims(rows)
    assert [(one["value"], one["met"]) for one in found] == [(1.12, False), (1.05, True)]


def test_the_texts_are_the_same_each_time() -> None:
    """Sizes whose rows differ in length could not be compared."""
    words = ["one", "two", "three"]
    few, many = list(texts(words, 500)), list(texts(words, CHUNK + 700))
    assert [len(part) for part in many] == [CHUNK, 700]
    assert few[0] == many[0][:500]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_memory_is_flat(tmp_path: Path) -> None:
    """A list of all rows, of all signals, or of every page that was ever mapped."""
    make_model(TEACHER, tmp_path / "teacher", make_corpus(tmp_path / "words"))
    few, many = (measured(tmp_path, count, False) for count in (10_000, 60_000))
    for job in ("label", "read"):
        assert many[f"{job}_peak_mb"] < 1.1 * few[f"{job}_peak_mb"], job
    assert many["signals_mb"] > 5 * few["signals_mb"] and many["shards"] > few["shards"]
