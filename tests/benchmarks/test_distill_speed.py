"""The benchmark of distilling speed: what a ratio is made of."""

from __future__ import annotations

import pytest

from benchmarks.distill_speed import LIVE, LONGEST, rate


def test_a_rate_is_of_all_runs_of_a_side_in_its_round() -> None:
    """Prevents a ratio of the best run, and runs of another round or side in it."""
    rows = [
        {"side": LIVE, "round": 1, "rows": 100, "rows_per_second": 10.0},
        {"side": LIVE, "round": 1, "rows": 100, "rows_per_second": 30.0},
        {"side": LIVE, "round": 2, "rows": 100, "rows_per_second": 99.0},
        {"side": LONGEST, "round": 1, "rows": 100, "rows_per_second": 5.0},
    ]
    assert rate(rows, LIVE, 1) == pytest.approx(200 / (10 + 100 / 30))
    assert rate(rows, LONGEST, 1) == pytest.approx(5.0)
