"""The JSON Schema that the package ships, against what the package writes."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from compress.report.collect import collect
from compress.report.gate import read_gate
from tests.report.made_up import write_run
from tests.report.made_up_full import full_measures, full_report


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The shipped schema."""
    loaded: dict[str, Any] = json.loads(files("compress.report").joinpath("report.schema.json").read_text())
    return loaded


def test_the_schema_is_one(schema: dict[str, Any]) -> None:
    """A mistyped keyword makes a schema that everything passes."""
    jsonschema.Draft202012Validator.check_schema(schema)


def test_a_full_report_validates(tmp_path: Path, schema: dict[str, Any]) -> None:
    """Every field that a benchmark can write must be in the schema as it is written."""
    report = full_report(tmp_path / "run")
    quality = next(one["quality"] for one in report["subjects"] if one["name"] == "int8")
    quality["timed"] = {"batch": 32, "requests": 28, "p50": {"value": 9.1, "unit": "ms", "interval": None, "n": 28}}
    quality["right"] = {"rows_key": "0f" * 8, "bits": "ffee01"}
    quality["paired"]["drop"] = {"value": 0.01, "unit": "score", "interval": [0.0, 0.02], "n": 872}
    quality["calibration"] |= {"binning": "15 bins of equal mass", "confidence": 0.93, "bins": [[0.6, 0.5, 58]]}
    quality["flips"][0]["word"] = "Rome"
    jsonschema.validate(report, schema)


def test_findings_and_gate_validate(tmp_path: Path, schema: dict[str, Any]) -> None:
    """What `why` and `gate` add is part of the format."""
    gates = tmp_path / "gates.yaml"
    gates.write_text('"*": {max_size: 60MB, min_speedup: 4, max_quality_drop: 0.05}\nbroken: {max_memory: 1GB}')
    report = collect(write_run(tmp_path / "run", found=full_measures()), read_gate(gates))
    jsonschema.validate(report, schema)
    assert any(report["why"].values()) and "broken" not in report["why"]
    assert {line["state"] for line in report["gate"]["limits"]} == {"met", "missed", "cannot tell"}


@pytest.mark.parametrize(
    "damage",
    [
        {"gate": {"passed": True}},
        {"why": {"int8": [{"finding": "padding"}]}},
        {"subjects": [{}]},
        {"surprise": 1},
    ],
)
def test_another_shape_is_refused(tmp_path: Path, schema: dict[str, Any], damage: dict[str, Any]) -> None:
    """A schema that takes anything protects nobody."""
    report = {**full_report(tmp_path / "run"), **damage}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, schema)
