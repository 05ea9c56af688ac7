"""The search for the best batch, with rates that are given."""

from __future__ import annotations

import random

import pytest

from compress.bench.probes.throughput import Search, Throughput, _judge, result
from compress.bench.workload import stream


def _search(*rates: float) -> Search:
    return Search({2**power: [rate, rate, rate] for power, rate in enumerate(rates)}, chosen=[max(rates)] * 6)


@pytest.mark.parametrize(
    ("rates", "stale"),
    [
        ((100,), False),
        ((100, 60), False),
        ((100, 60, 300), False),
        ((100, 101, 104), True),
        ((100, 200, 150, 190), True),
    ],
)
def test_one_slow_size_does_not_end_the_search_but_two_do(rates: tuple[float, ...], stale: bool) -> None:
    """A dip from padding at batch 2 must not hide a batch of 16 that is three times as fast."""
    assert _search(*rates).stale() is stale


def test_the_reason_for_the_end_is_kept() -> None:
    """A search that ended at the memory's edge is not one that found its top."""
    search = _search(100, 200)
    search.faults[2] = "RuntimeError: CUDA out of memory"
    _judge(search, 2, Throughput())
    assert search.ended == "out of memory" and search.best == 1 and 2 not in search.rates
    slow = _search(100)
    slow.per_request[1] = 3.0
    _judge(slow, 1, Throughput())
    assert slow.ended == "one batch takes more than 2 s"


def test_the_ratio_is_of_rates_at_each_one_s_best_batch() -> None:
    """Over 1 must mean more texts per second, not more seconds per text."""
    searches = {"teacher": _search(100, 120), "student": _search(300, 600)}
    found = result(searches, "student", "teacher")
    assert found["batch"] == 2
    assert found["ratio"] == {"value": 5.0, "interval": [5.0, 5.0], "verdict": "FASTER"}


def test_every_stretch_of_texts_has_the_mix_of_lengths() -> None:
    """Two subjects with batches of different sizes see different texts: their lengths must be alike all the same."""
    inputs = ["x" * length for length in range(1, 101)]
    rows = stream(inputs, 400, random.Random(3))
    for start in range(0, 400, 50):
        mean = sum(len(inputs[row]) for row in rows[start : start + 50]) / 50
        assert mean == pytest.approx(50.5, abs=3)
