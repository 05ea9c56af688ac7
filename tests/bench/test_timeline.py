"""Memory over time, from a /proc that the test writes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from compress.bench.inside.state import State
from compress.bench.inside.timeline import MOST, _thinned, age, resident, stage


def test_both_ends_of_a_stage_are_noted_and_waiting_is_left_out() -> None:
    """A stage shorter than the sampling step would vanish, and waits for other subjects would look like slowness."""
    state = State(born=time.perf_counter() - 100.0, idle_wall=90.0)
    with stage(state, "load"):
        pass
    names = {name for _, _, name in state.timeline}
    assert names == {"load"} and len(state.timeline) >= 2
    assert all(10.0 <= seconds < 40.0 for seconds, _, _ in state.timeline)


def test_the_highest_point_survives_thinning() -> None:
    """A peak of one moment is what decides whether a model fits."""
    points = [(float(index), 900 if index == 333 else index % 7, "answer") for index in range(1000)]
    kept = _thinned(points)
    assert len(kept) <= MOST and kept[0] == points[0] and kept[-1] == points[-1] and points[333] in kept


def test_a_process_knows_its_age(tmp_path: Path) -> None:
    """The interpreter's own start is part of a start; a clock that begins after it leaves it out."""
    ticks = os.sysconf("SC_CLK_TCK")
    fields = ["S", *["0"] * 18, str(50 * ticks), "0"]
    (tmp_path / "stat").write_text(f"12 (py (3) thon) {' '.join(fields)}")
    (tmp_path / "uptime").write_text("60.5 100.0")
    assert age(tmp_path / "stat", tmp_path / "uptime") == 10.5
    assert age(tmp_path / "none", tmp_path / "uptime") == 0.0
    assert resident(tmp_path / "none") is None
