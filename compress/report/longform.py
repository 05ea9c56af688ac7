"""report.csv: every number as one row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

COLUMNS = ("subject", "measure", "batch", "length", "value", "unit", "lo", "hi", "n")


def long_csv(report: Mapping[str, Any]) -> str:
    """CSV with the columns `COLUMNS`; `length` is `corpus` for the corpus's own length mix."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for subject in report["subjects"]:
        for measure, batch, length, found in _measures(subject):
            lo, hi = found.get("interval") or ("", "")
            value = found.get("value")
            row = [subject["name"], measure, batch, length, "" if value is None else value, found.get("unit", "")]
            writer.writerow([*row, lo, hi, found.get("n", "")])
    return stream.getvalue()


def _measures(subject: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any, Mapping[str, Any]]]:
    """(measure, batch, length, measure) of everything known of a subject."""
    quality = subject["quality"] or {}
    for metric, found in (quality.get("values") or {}).items():
        yield f"quality.{metric}", "", "", found
    if quality.get("retained"):
        yield "quality.retained", "", "", quality["retained"]
    if subject["parameters"]:
        yield "parameters", "", "", subject["parameters"]
    if subject["size_ratio"] is not None:
        yield "size.ratio", "", "", {"value": subject["size_ratio"], "unit": "ratio"}
    for group in ("size", "load", "memory"):
        yield from ((f"{group}.{name}", "", "", found) for name, found in _leaves(subject[group]))
    for entry in subject["latency"]:
        length = "corpus" if entry.get("mix") == "corpus" else entry.get("length")
        for name in ("p50", "p90", "throughput", "ratio"):
            if entry.get(name):
                yield f"latency.{name}", entry.get("batch"), length, {"unit": "ratio", **entry[name]}


def _leaves(group: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The measures of a group, nested ones with a dotted name."""
    for name, found in group.items():
        if isinstance(found, dict) and "value" in found:
            yield name, found
        elif isinstance(found, dict):
            yield from ((f"{name}.{inner}", leaf) for inner, leaf in _leaves(found))
