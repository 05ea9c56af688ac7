"""The benchmark of distilling speed: what a ratio is made of."""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.distill_speed import LIVE, LONGEST, STORED, measured, rate


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


def test_a_run_finds_nothing_of_one_that_was_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals that a killed run has stored make the next one look as if asking the teacher cost nothing."""
    options = argparse.Namespace(out=tmp_path, data=tmp_path, teacher=tmp_path, textbrewer=tmp_path, threads=1)
    left = tmp_path / "scratch" / "1-8-0" / "signals"
    left.mkdir(parents=True)

    def ran(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        assert not left.exists()
        return subprocess.CompletedProcess([], 0, json.dumps({"seconds": 1.0, "labelling_seconds": 3.0}), "")

    monkeypatch.setattr(subprocess, "run", ran)
    assert measured(STORED, 8, (0, 0), tmp_path, options)["rows_per_second"] == 2
