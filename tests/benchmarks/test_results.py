"""The results' contract: `met` follows from the interval, and the pages say what the files say."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from benchmarks.claims import RESULTS, claim, met, number, read, read_all
from benchmarks.readme import PAGES, filled, made, source
from benchmarks.seeds import over_seeds
from benchmarks.show import heading, lines


@pytest.mark.parametrize(
    ("value", "interval", "target", "expected"),
    [
        (6.0, [5.5, 6.5], ">= 5", True),
        (6.0, [4.5, 7.5], ">= 5", False),
        (5.0, None, ">= 5", True),
        (5.0, [5.0, 6.0], "> 5", False),
        (0.2, [0.1, 0.3], "<= 0.3", True),
        (0.2, [0.1, 0.4], "<= 0.3", False),
        (0.2, [-0.1, 0.2], "< 0.3", True),
        (None, None, ">= 5", False),
    ],
)
def test_met_looks_at_the_worse_end(value: float | None, interval: Any, target: str, expected: bool) -> None:
    """A mean above the bar with an interval that reaches below it has not shown the claim."""
    assert met(value, interval, target) is expected
    assert claim("x", value, target, "times", interval)["met"] is expected


@pytest.mark.parametrize("count", [2, 3, 6, 10, 30])
def test_the_interval_over_seeds_is_student_s(count: int) -> None:
    """The normal distribution's 1.96 for six seeds is a quarter too narrow, and a claim is met that was not shown."""
    found = over_seeds([float(number % 2) for number in range(count)])
    exact = stats.t.ppf(0.975, count - 1) * statistics.stdev(number % 2 for number in range(count)) / count**0.5
    assert found is not None
    half = (found[1] - found[0]) / 2
    assert half == pytest.approx(exact, rel=1e-3) if count <= 10 else exact < half
    assert over_seeds([1.0]) is None


@pytest.mark.parametrize("target", ["5", "about 5", ">=5", "", ">= five"])
def test_a_target_that_cannot_be_read_is_refused(target: str) -> None:
    """A target that is never compared is always met."""
    with pytest.raises(ValueError, match=r"target|float"):
        met(6.0, None, target)


def document(**changed: Any) -> dict[str, Any]:
    return {
        "benchmark": "demo",
        "commit": "abc",
        "date": "2025-01-02",
        "machine": {"cpu": "Some CPU", "cores": 2},
        "seeds": [1, 2],
        "rows": [
            {"model": "teacher", "ms": 12.3456, "kept": None, "of": [1.23456, 2.0]},
            {"model": "student", "ms": 1.0, "kept": 99.125},
        ],
        "claims": [claim("faster", 12.0, ">= 5", "times", [11.0, 13.0]), claim("kept", 96.0, ">= 97", "%")],
        **changed,
    }


def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    """A hand-edited `met: true` would be printed as a success."""
    found = document()
    found["claims"][1]["met"] = True
    (tmp_path / "demo.json").write_text(json.dumps(found))
    with pytest.raises(ValueError, match="says met: True"):
        read(tmp_path / "demo.json")
    for name in ("commit", "claims"):
        (tmp_path / "demo.json").write_text(json.dumps({k: v for k, v in document().items() if k != name}))
        with pytest.raises(ValueError, match=f"has no {name}"):
            read(tmp_path / "demo.json")


def test_what_is_printed() -> None:
    """A claim that falls short is as visible as one that is met."""
    assert heading(document()) == "demo · 2025-01-02 · abc · seeds 1, 2 · Some CPU"
    assert lines(document()["claims"]) == [
        "  met    faster  target >= 5   measured 12 times [11, 13]",
        "  SHORT  kept    target >= 97  measured 96 %",
    ]
    assert (number(None), number(12345.6, "MB"), number(0.012345)) == ("n/a", "12,346 MB", "0.01235")


def test_readme_blocks_are_made_from_the_files(tmp_path: Path) -> None:
    """A number typed into the README is a number that nobody measured again."""
    (tmp_path / "demo.json").write_text(json.dumps(document()))
    text = "a\n<!-- rows demo: model, ms=p50 ms, kept, of -->\nold\n<!-- end -->\n"
    text += "b\n<!-- claims demo -->\n<!-- end -->\nc\n"
    made = filled(text, tmp_path)
    assert (
        "| model | p50 ms | kept | of |\n| --- | ---: | ---: | ---: |\n| teacher | 12.35 | – | [1.235, 2] |\n" in made
    )
    assert "| kept | >= 97 | 96 % | **short** |" in made
    assert "old" not in made
    assert made.startswith("a\n<!-- rows demo")
    assert made.endswith("<!-- end -->\nc\n")
    assert filled(made, tmp_path) == made
    assert filled(text, tmp_path / "none") == text


def test_two_machines_are_both_named() -> None:
    """A student that a GPU trained and a CPU timed, shown as if one machine had done both."""
    there = {"cpu": "Host", "cores": 16, "gpu": ["Some GPU"], "speed": {"cpu": "Some CPU", "cores": 2, "gpu": []}}
    told = "Host · 16 cores · Some GPU · timed on Some CPU, 2 cores · 2025-01-02 · commit abc"
    assert source(document(machine=there)).strip() == f"<sub>{told} · `benchmarks/results/demo.json`</sub>"


def test_every_results_file_keeps_the_contract() -> None:
    """A file that `make results` cannot read hides its claims."""
    for found in read_all():
        assert found["claims"], found["benchmark"]
        assert found["seeds"], found["benchmark"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_are_up_to_date(page: Path) -> None:
    """`make results` was forgotten after a benchmark."""
    assert made(page) == page.read_text(encoding="utf-8")


def test_every_result_is_shown() -> None:
    """A benchmark whose outcome nobody sees, since no page names its file."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [path.name for path in RESULTS.glob("*.json") if f"/{path.name}`" not in text] == []
