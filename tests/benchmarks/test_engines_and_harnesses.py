"""What the two comparisons say of rows that are made up: no model, no clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import cpu_engines
from benchmarks import harness_vs_optimum_benchmark as harnesses
from benchmarks.readme import rows_table


def _subject(name: str, dtype: str = "", blank: bool = False) -> dict[str, Any]:
    _, engine, wanted = cpu_engines.SUBJECTS[name]
    size = 1e8 if "int8" in name else 4e8
    none = {"value": None, "interval": None, "why": "out of memory"}
    cells = [
        {"mix": "grid", "batch": b, "length": s, "p50": none if blank else {"value": 2.0, "interval": [1.9, 2.1]},
         "ratio": {"value": 1.5, "interval": [1.4, 1.6], "verdict": "FASTER"}}
        for b in cpu_engines.BATCHES for s in cpu_engines.LENGTHS
    ]  # fmt: skip
    return {"name": name, "engine": engine, "dtype": dtype or wanted, "status": "ok", "threads": 2, "latency": cells,
            "size": {"total": {"value": size}}, "memory": {"own": {"value": None if blank else 5e8}}}  # fmt: skip


def _rows(**changes: Any) -> list[dict[str, Any]]:
    shape = cpu_engines.SHAPES["tinybert-4"]
    return [cpu_engines.row(shape, _subject(name, **(changes.get(name.replace(" ", "_")) or {})))
            for name in cpu_engines.SUBJECTS]  # fmt: skip


def test_a_whole_table_meets_its_claims() -> None:
    """Claims that fail on a good table would be waved through on a bad one."""
    found = cpu_engines.claims(_rows(), 1)
    assert [one["met"] for one in found] == [True] * 4 and found[0]["value"] == 28


def test_a_cell_or_a_format_that_is_not_what_it_says_is_seen() -> None:
    """OpenVINO in bf16 under the name fp32, or a row of blanks, must not pass as a measured table."""
    rows = _rows(ONNX_fp32={"blank": True}, OpenVINO_fp32={"dtype": "bfloat16"})
    cells, formats, threads, smaller = cpu_engines.claims(rows, 1)
    assert not cells["met"] and cells["value"] == 24
    assert not formats["met"] and formats["value"] == 6
    assert threads["met"] and smaller["met"]


def test_the_rows_fit_the_readme() -> None:
    """A column that the rows do not have would be a table of dashes."""
    text = " ".join((cpu_engines.__doc__ or "").split())
    columns = text.partition("rows cpu_engines: ")[2].partition(" -->")[0]
    table = rows_table(_rows(), columns)
    assert "–" not in table and table.count("\n") == 2 + len(cpu_engines.SUBJECTS)


def _repeats(harness: str, condition: str, ratios: list[float]) -> list[dict[str, Any]]:
    return [{"harness": harness, "condition": condition, "ratio": ratio} for ratio in ratios]


def test_theirs_is_judged_by_the_better_of_its_two_ways() -> None:
    """A comparison with the worse way of the other harness would be won by choosing it."""
    rows = []
    for condition in harnesses.NAMES.values():
        rows += _repeats(harnesses.OURS, condition, [2.0, 2.01, 1.99] * 4)
        rows += _repeats(harnesses.PROCESS, condition, [1.0, 2.0, 3.0] * 4)
        rows += _repeats(harnesses.INLINE, condition, [2.0, 2.1, 1.9] * 4)
    found = harnesses.claims(rows)
    assert len(found) == 2 and all("(inline)" in one["name"] for one in found)
    assert found[0]["value"] == pytest.approx(0.1, rel=0.02) and found[0]["met"]
    low, high = found[0]["interval"]
    assert low <= found[0]["value"] <= high
    lines = {(line["harness"], line["condition"]): line for line in harnesses.summaries(rows)}
    assert lines[harnesses.PROCESS, "quiet"]["max_over_min"] == 3.0


def test_a_spread_of_nothing_is_no_claim_met() -> None:
    """One repetition has no spread, and zero over zero must not count as half."""
    rows = [row for condition in harnesses.NAMES.values() for harness in (harnesses.OURS, *harnesses.LAUNCHERS)
            for row in _repeats(harness, condition, [2.0])]  # fmt: skip
    assert [(one["value"], one["met"]) for one in harnesses.claims(rows)] == [(None, False)] * 2


def test_repetitions_are_kept(tmp_path: Path) -> None:
    """Twenty quiet minutes lost to a broken run; a cut-off one that starts with an empty list is taken as none."""
    assert harnesses.before(tmp_path) == []
    (tmp_path / harnesses.KEPT).write_text('{"repeat": 0, "ratio": 2.0}\n{"repeat": 1, "ratio": 2.1}\n')
    assert [row["repeat"] for row in harnesses.before(tmp_path)] == [0, 1]
