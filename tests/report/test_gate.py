"""Gates: what is missed, met, or cannot be told, and what is wrong with the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import InputError, JobError
from compress.report.gate import Limits, insist, judge, read_gate, sentence
from tests.report.made_up import SHAPES, measure, subject

Judged = dict[tuple[str, str], str]


def judged(tmp_path: Path, text: str, *subjects: dict[str, Any]) -> dict[str, Any]:
    """A gate of this text over these subjects; by default all of the made-up run."""
    path = tmp_path / "gates.yaml"
    path.write_text(text)
    return judge({"subjects": list(subjects) or [subject(name) for name in SHAPES]}, read_gate(path))


def states(found: dict[str, Any]) -> Judged:
    """(subject, limit) to state."""
    return {(line["subject"], line["limit"]): line["state"] for line in found["limits"]}


def test_only_what_is_surely_missed_fails(tmp_path: Path) -> None:
    """A gate that fails on noise is switched off; one that passes what surely broke the limit is no gate."""
    found = judged(tmp_path, "int8: {min_speedup: 11.8, min_retained: 0.99, max_size: 20MB, max_memory: 100MB}")
    assert states(found) == {
        ("int8", "min_speedup"): "cannot tell",
        ("int8", "min_retained"): "cannot tell",
        ("int8", "max_size"): "met",
        ("int8", "max_memory"): "missed",
    }
    assert not found["passed"]
    with pytest.raises(JobError, match=r"the gate is missed: int8: max_memory 100 MB missed with 289 MB"):
        insist(found)


def test_one_reading_of_memory_is_not_sure_to_the_byte(tmp_path: Path) -> None:
    """A job that fails on one run and passes on the next, at the same commit, is switched off."""
    for limit, state in (("288MB", "cannot tell"), ("300MB", "cannot tell"), ("260MB", "missed"), ("320MB", "met")):
        found = judged(tmp_path, f"int8: {{max_memory: {limit}}}")
        assert states(found) == {("int8", "max_memory"): state}


def test_a_gate_that_cannot_be_told_passes_and_says_so(tmp_path: Path) -> None:
    """`missed` must mean missed."""
    found = judged(tmp_path, "int8: {min_speedup: 12, max_latency_ms: 2.6}")
    assert found["passed"] and set(states(found).values()) == {"cannot tell"}
    insist(found)
    assert sentence(found["limits"][0]).startswith("int8: min_speedup 12 cannot tell with 11.95 [")


def test_the_star_is_for_all_but_the_reference(tmp_path: Path) -> None:
    """A teacher of 90 MB must not fail the limit that is meant for its students; a subject's own limit comes first."""
    found = judged(tmp_path, '"*": {max_size: 60MB}\nstudent: {max_size: 70MB}\nteacher: {max_latency_ms: 20}')
    assert states(found) == {
        ("teacher", "max_latency_ms"): "missed",
        ("student", "max_size"): "met",
        ("int8", "max_size"): "met",
        ("tiny", "max_size"): "met",
    }


def test_the_drop_is_taken_from_the_pairs(tmp_path: Path) -> None:
    """Two separate intervals are wider than that of the difference, and hide a drop that is sure."""
    tested = subject("int8")
    tested["quality"]["paired"] = {"test": "mcnemar", "p": 0.001, "drop": measure(0.02, "score", 0.005)}
    found = judged(tmp_path, "int8: {max_quality_drop: 0.01}", subject("teacher"), tested)
    assert states(found) == {("int8", "max_quality_drop"): "missed"}
    old = judged(tmp_path, "int8: {max_quality_drop: 0.03}", subject("teacher"), subject("int8"))
    (line,) = old["limits"]
    assert line["state"] == "met" and line["value"] == pytest.approx(0.0116) and line["interval"][0] < 0.0116


def test_nothing_is_sure_without_a_value_or_an_interval(tmp_path: Path) -> None:
    """A crash, or a single reading of what varies, is no proof either way."""
    failed = subject("int8", status="failed", quality=None, size={}, memory={}, latency=[])
    alone = subject("student")
    alone["quality"]["retained"] = measure(0.5, "ratio")
    found = judged(tmp_path, '"*": {max_size: 1MB, min_retained: 0.9}', subject("teacher"), failed, alone)
    assert states(found) == {
        ("int8", "max_size"): "cannot tell", ("int8", "min_retained"): "cannot tell",
        ("student", "max_size"): "missed", ("student", "min_retained"): "cannot tell",
    }  # fmt: skip
    reasons = {(line["subject"], line["limit"]): line.get("why") for line in found["limits"]}
    assert reasons["int8", "max_size"] == "the subject failed"
    assert reasons["student", "min_retained"] == "it has no interval"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("int8:\n  max_sise: 1MB", 'gates.yaml:2: int8.max_sise: not an option of this place (it has'),
        ("int8:\n  max_sise: 1MB", 'did you mean "max_size"?'),
        ("int8: {max_size: 20XB}", "expected an amount such as 256MB"),
        ("int8: {min_speedup: fast}", "expected a number, came str 'fast'"),
        ("int8: {min_speedup: -1}", "greater than 0"),
        ("\nint9: {max_size: 1MB}", 'gates.yaml:2: int9: no subject of that name; did you mean "int8"?'),
        ("int8: {}", "has no limit"),
        ("int8: 20MB", "expected {option: value} pairs"),
        ("", "expected limits as"),
        ("int8: {max_size: 1MB, max_size: 2MB}", "stands twice"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    """A misspelt limit that is ignored is a gate that stands open."""
    with pytest.raises(InputError) as caught:
        judged(tmp_path, text)
    assert words in str(caught.value) and caught.value.exit_code == 2


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    """Faults told one at a time are mended one at a time."""
    with pytest.raises(InputError) as caught:
        judged(tmp_path, "int8: {max_sise: 1MB}\ntiny: {min_speed: 2}\nstudent:\n")
    assert len(str(caught.value).splitlines()) == 3


def test_a_missing_file(tmp_path: Path) -> None:
    """A path that is not there must not end in a traceback after the measuring."""
    with pytest.raises(InputError, match="cannot be read"):
        read_gate(tmp_path / "absent.yaml")


def test_amounts() -> None:
    """20MB is 20 000 000 bytes, as the report prints it; MiB are said."""
    amounts = {"20MB": 20_000_000, "1.5GiB": 1_610_612_736, "300 kB": 300_000, 1000: 1000}
    for text, size in amounts.items():
        assert Limits.model_validate({"max_size": text}).max_size == size
