"""The trials of the harness itself: what is planned, what is kept, and what follows from the verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.instrument import PASSES, PLANTED, claims, key, plan, read, subject, table


def _rows(same: str = "SAME", slow: str = "SLOWER", error: float = 0.01) -> list[dict[str, Any]]:
    rows = []
    for row in (row for busy in (False, True) for row in plan(10, busy)):
        if row["what"] == "verdict":
            facts = {
                name: {"value": 1.0, "verdict": said, "rounds": 6} for name, said in (("same", same), ("slow", slow))
            }
            rows.append({**row, **facts})
        else:
            rows.append({**row, "measured": row["truth"] * (1 + error)})
    return rows


def test_the_planted_difference_is_what_it_is_called() -> None:
    """Passes that round to 4 % would make the harness look blind."""
    assert round(PASSES * PLANTED) / PASSES == PLANTED


def test_every_trial_has_its_own_key() -> None:
    """Two trials under one key would be run once and counted twice."""
    keys = [key(row) for busy in (False, True) for row in plan(10, busy)]
    assert len(set(keys)) == len(keys) == 2 * (9 + 3 + 10)


def test_a_line_that_was_cut_off_is_run_again(tmp_path: Path) -> None:
    """A run that was broken off in the middle of a line must go on, not stop."""
    (tmp_path / "trials.jsonl").write_text('{"what": "sleep"}\n{"what": "ten')
    assert read(tmp_path / "trials.jsonl") == [{"what": "sleep"}]
    assert read(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(
    ("changes", "met"),
    [({}, 8), ({"same": "FASTER"}, 6), ({"slow": "CANNOT TELL"}, 6), ({"slow": "SAME"}, 6), ({"error": 0.025}, 6)],
)
def test_claims_follow_from_the_trials(changes: dict[str, Any], met: int) -> None:
    """A false verdict, a slow-down that is missed, or a clock that is off must each cost its claim."""
    found = claims(_rows(**changes))
    assert len(found) == 8 and sum(one["met"] for one in found) == met
    assert len(table(_rows(**changes))) == 12


def test_a_subject_s_folder_says_how_it_acts(tmp_path: Path) -> None:
    """The slow subject must not share the folder, and so the speed, of the others."""
    fast, slow = subject(tmp_path, {"passes": 400}), subject(tmp_path, {"passes": 420})
    assert fast != slow and json.loads((slow / "known.json").read_text()) == {"passes": 420}
