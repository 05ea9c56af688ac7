"""report.csv: every number as one row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

COLUMNS = (
    "subject", "measure", "batch", "length", "slice", "value", "unit", "lo", "hi", "n", "verdict", "why",
)  # fmt: skip
RATIO = {"unit": "ratio"}


@dataclass(frozen=True)
class Line:
    """A measure, and what it was measured at."""

    measure: str
    found: Mapping[str, Any]
    at: Mapping[str, Any] = field(default_factory=dict)


def long_csv(report: Mapping[str, Any]) -> str:
    """CSV with the columns `COLUMNS`; `length` is `corpus` for the corpus's own length mix, `slice` is `by=which`."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for subject in report["subjects"]:
        for line in _lines(subject):
            lo, hi = line.found.get("interval") or ("", "")
            facts = {name: line.found.get(name) for name in ("value", "unit", "n", "verdict", "why")}
            told = {name: value for name, value in facts.items() if value is not None}
            writer.writerow(
                {"subject": subject["name"], "measure": line.measure, **line.at, **told, "lo": lo, "hi": hi}
            )
    return stream.getvalue()


def _lines(subject: Mapping[str, Any]) -> Iterator[Line]:
    """Everything known of a subject."""
    yield from _quality(subject["quality"] or {})
    if subject["parameters"]:
        yield Line("parameters", subject["parameters"])
    if subject["size_ratio"] is not None:
        yield Line("size.ratio", {"value": subject["size_ratio"], **RATIO})
    for group in ("size", "load", "memory", "compute", "energy"):
        yield from _leaves(group, subject.get(group))
    for limit in subject.get("fits") or []:
        fits = {
            "value": None if limit["fits"] is None else int(limit["fits"]),
            "unit": "yes=1",
            "why": limit.get("why"),
        }
        yield Line(f"fits.{limit['limit_bytes']}", fits)
    for entry in subject["latency"]:
        at = {"batch": entry.get("batch"), "length": "corpus" if entry.get("mix") == "corpus" else entry.get("length")}
        for name in ("p50", "p90", "p99", "device_p50", "throughput", "ratio"):
            if entry.get(name):
                yield Line(f"latency.{name}", {**RATIO, **entry[name]}, at)
        if entry.get("padding_share") is not None:
            yield Line("latency.padding_share", {"value": entry["padding_share"], "unit": "share"}, at)
    yield from _throughput(subject.get("throughput") or {})


def _quality(quality: Mapping[str, Any]) -> Iterator[Line]:
    yield from (Line(f"quality.{metric}", found) for metric, found in (quality.get("values") or {}).items())
    for name in ("retained", "agreement", "calibration"):
        yield from _leaves(f"quality.{name}", quality.get(name))
    paired = quality.get("paired") or {}
    yield from _leaves("quality.paired.drop", paired.get("drop"))
    for name, unit in (("p", "probability"), ("lost", "rows"), ("gained", "rows")):
        if paired.get(name) is not None:
            yield Line(f"quality.paired.{name}", {"value": paired[name], "unit": unit})
    for found in quality.get("slices") or []:
        at = {"slice": f"{found['by']}={found['slice']}"}
        for name in ("value", "drop"):
            if found.get(name):
                yield Line(f"quality.slice.{name}", {**found[name], "n": found.get("rows")}, at)


def _throughput(found: Mapping[str, Any]) -> Iterator[Line]:
    at = {"batch": found.get("batch") or "", "length": "corpus"}
    if found.get("rate"):
        yield Line("throughput.best", found["rate"], at)
    if found.get("ratio"):
        yield Line("throughput.ratio", {**RATIO, **found["ratio"]}, at)
    for entry in found.get("sweep") or []:
        rate = entry.get("rate") or {"unit": "per s", "why": entry.get("why")}
        yield Line("throughput.sweep", rate, {"batch": entry.get("batch"), "length": "corpus"})


def _leaves(name: str, found: Any) -> Iterator[Line]:
    """The measures of a group, nested ones with a dotted name."""
    if isinstance(found, dict) and "value" in found:
        yield Line(name, found)
    elif isinstance(found, dict):
        for inner, leaf in found.items():
            bare = inner.endswith("_share") and isinstance(leaf, (int, float))
            yield from _leaves(f"{name}.{inner}", {"value": leaf, "unit": "share"} if bare else leaf)
