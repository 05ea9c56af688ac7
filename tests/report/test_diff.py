"""Two reports compared."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.core.errors import InputError
from compress.report.collect import collect
from compress.report.diff import diff, read_report, table
from tests.report.made_up import SHAPES, measure, measures, subject, write_run


def report(**changes: Any) -> dict[str, Any]:
    """A report of the teacher and the int8 student, changed so."""
    found = measures(subject("teacher"), subject("int8", **changes))
    found["subjects"] = [{**one, "step": None} for one in found["subjects"]]
    return found


def verdicts(found: dict[str, Any], name: str = "int8") -> dict[str, str]:
    """Quantity to verdict of one subject."""
    return {line["quantity"]: line["verdict"] for line in found["subjects"][name]}


def answered(right: np.ndarray, rows_key: str = "k") -> dict[str, Any]:
    """A quality that says which rows were right."""
    values = {"accuracy": measure(float(right.mean()), "score", 0.02)}
    bits = {"rows_key": rows_key, "bits": np.packbits(right).tobytes().hex()}
    return {
        "metric": "accuracy",
        "split": "test",
        "rows": len(right),
        "values": values,
        "retained": None,
        "right": bits,
    }


def test_a_report_against_itself() -> None:
    """What did not change must never be called better or worse."""
    told = verdicts(diff(report(), report()))
    assert told["size"] == told["parameters"] == told["memory, peak"] == "SAME"
    assert told["p50, 1 x corpus texts"] == "SAME", "intervals of 1.5 % tell that two medians are within 5 %"
    assert told["load"] == "CANNOT TELL", "one load has no interval"
    assert set(told.values()) == {"SAME", "CANNOT TELL"}


def test_what_changed_is_told() -> None:
    """Smaller and slower are two things, and a change within the noise is none."""
    new = report(size={"total": measure(10e6, "bytes")})
    new["subjects"][1]["latency"][0]["p50"] = measure(3.2, "ms", 0.05)
    new["subjects"][1]["quality"]["values"]["accuracy"] = measure(0.82, "score", 0.019)
    found = diff(report(), new)
    told = verdicts(found)
    assert told["size"] == "BETTER" and told["p50, 1 x corpus texts"] == "WORSE" and told["accuracy"] == "WORSE"
    line = next(line for line in found["subjects"]["int8"] if line["quantity"] == "p50, 1 x corpus texts")
    low, high = line["change"]["interval"]
    assert line["change"]["value"] == pytest.approx(3.2 / 2.61, rel=1e-5) and low < line["change"]["value"] < high
    titles, rows = table(found)
    assert len(titles) == 6 and all(len(row) == 6 for row in rows)
    assert ["int8", "size", "15.9 MB", "10.0 MB", "0.63×", "BETTER"] in rows


def test_speed_is_not_compared_across_machines() -> None:
    """A faster laptop must not make a student faster; its size is the same everywhere."""
    new = report(size={"total": measure(10e6, "bytes")})
    new["subjects"][1]["latency"][0]["p50"] = measure(1.0, "ms", 0.01)
    new["environment"] = {**new["environment"], "cpu": "Another CPU"}
    found = diff(report(), new)
    told = verdicts(found)
    assert told["p50, 1 x corpus texts"] == told["memory, peak"] == "CANNOT TELL" and told["size"] == "BETTER"
    assert (
        "the CPU differs (Example CPU @ 2.0 GHz, now Another CPU): speed and memory cannot be compared"
        in found["notes"]
    )


@pytest.mark.parametrize("what", ["packages", "threads"])
def test_packages_and_threads_decide_speed_too(what: str) -> None:
    """Two threads against four is not a better model."""
    new = report(threads=4) if what == "threads" else report()
    if what == "packages":
        new["environment"] = {**new["environment"], "packages": {"torch": "9.9", "onnxruntime": "1.31.1"}}
    found = diff(report(), new)
    assert verdicts(found)["p50, 1 x 64 tokens"] == "CANNOT TELL" and not found["comparable"]["machine"]
    assert any(("threads" if what == "threads" else "torch") in note for note in found["notes"])


def test_quality_on_other_rows_is_not_compared() -> None:
    """Dev against test is no gain."""
    new = report()
    new["corpus"] = {**new["corpus"], "split": "dev"}
    new["subjects"][1]["quality"]["values"]["accuracy"] = measure(0.99, "score", 0.001)
    found = diff(report(), new)
    assert verdicts(found)["accuracy"] == "CANNOT TELL" and "the split differs (test, now dev)" in found["notes"][0]
    assert verdicts(found)["p50, 1 x 64 tokens"] == "SAME", "the grid takes any text"


def test_the_same_rows_are_compared_row_by_row() -> None:
    """Twenty mended rows of 2000 are a sure gain when nothing else moved; two separate intervals cannot show it."""
    before = np.arange(2000) % 10 > 0
    after = before.copy()
    after[np.flatnonzero(~before)[:20]] = True
    old, new = report(quality=answered(before)), report(quality=answered(after))
    found = diff(old, new)
    line = next(line for line in found["subjects"]["int8"] if line["quantity"] == "accuracy")
    assert line["verdict"] == "BETTER" and line["change"]["value"] == pytest.approx(0.01)
    assert verdicts(diff(old, old))["accuracy"] == "SAME"
    other = report(quality=answered(after, "other rows"))
    assert verdicts(diff(old, other))["accuracy"] == "CANNOT TELL"


def test_subjects_of_one_side_only_are_named() -> None:
    """A model that silently left the comparison looks as if it had passed."""
    new = copy.deepcopy(report())
    new["subjects"][1]["name"] = "int4"
    found = diff(report(), new)
    assert list(found["subjects"]) == ["teacher"]
    assert found["notes"] == ["int8 is in the old report only", "int4 is in the new report only"]


def test_any_stored_form_is_read(tmp_path: Path) -> None:
    """A run folder, its report.json and its measures.json are the same numbers."""
    run = write_run(tmp_path / "run")
    (tmp_path / "report.json").write_text(json.dumps(collect(run)))
    places = [run, tmp_path / "report.json", tmp_path, run / "speed" / "measures.json", run / "speed"]
    for place in places:
        found = diff(read_report(place), read_report(run))
        assert set(found["subjects"]) == set(SHAPES) and not found["notes"], place
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("absent", None, "no such file"), ("a.json", "{", "cannot be read as JSON"), ("a.json", "[1]", "neither a report"),
     ("a.json", '{"schema": 9, "subjects": []}', "neither a report")],
)  # fmt: skip
def test_what_is_no_report_is_refused(tmp_path: Path, name: str, content: str | None, words: str) -> None:
    """A damaged or foreign file must be named."""
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=words):
        read_report(tmp_path / name)
