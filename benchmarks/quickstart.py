"""The quickstart's promises, read from the report that `make demo` wrote.

    make demo && .venv/bin/python -m benchmarks.quickstart

Purpose: the README's table and picture (docs/quickstart.svg). The demo itself takes some minutes on two cores; this
script reads its report and the steps' own times. Writes results/quickstart.json.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks.claims import claim
from benchmarks.record import record

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "quickstart.svg"
MB = 1e6


def main() -> None:
    """Read runs/quickstart (or the folder given), write the results and the picture."""
    run = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs" / "quickstart"
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    cell = report["headline"]["cell"]
    rows = [row(subject, cell) for subject in report["subjects"]]
    seeds = sorted({step["seed"] for step in report["steps"] if step["seed"] is not None})
    path = record("quickstart", seeds, rows, claims(report, cell), report["environment"])
    shutil.copyfile(run / "report.svg", PICTURE)
    print(f"{path.relative_to(ROOT)}, {PICTURE.relative_to(ROOT)}")


def row(subject: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    """One model in plain numbers."""
    quality, latency = subject["quality"], _at(subject, cell)
    shape = subject.get("architecture") or {}
    return {
        "model": subject["name"],
        "shape": f"{shape['layers']} x {shape['width']}" if shape else "",
        "runs on": f"{subject['engine']} {subject['dtype']}",
        "accuracy": round(100 * quality["values"][quality["metric"]]["value"], 2),
        "kept": _share(quality["retained"]),
        "size_mb": round(subject["size"]["total"]["value"] / MB, 2),
        "smaller": subject["size_ratio"],
        "p50_ms": latency["p50"]["value"],
        "faster": (latency.get("ratio") or {}).get("value"),
    }


def claims(report: dict[str, Any], cell: dict[str, Any]) -> list[dict[str, Any]]:
    """What the issue and the README promise of the demo."""
    teacher = next(subject for subject in report["subjects"] if subject["reference"])
    top = next(subject for subject in report["subjects"] if subject["name"] == report["headline"]["subject"])
    kept, ratio = top["quality"]["retained"], _at(top, cell)["ratio"]
    taught = teacher["quality"]["values"][teacher["quality"]["metric"]]
    seconds = sum(step["seconds"] or 0 for step in report["steps"])
    return [
        claim("teacher's layers", teacher["architecture"]["layers"], ">= 4"),
        claim("teacher's width", teacher["architecture"]["width"], ">= 256"),
        claim("teacher's accuracy on test", 100 * taught["value"], "> 90", "%", _percent(taught["interval"])),
        claim("student smaller than the teacher", top["size_ratio"], ">= 10", "times"),
        claim("student faster than the teacher", ratio["value"], ">= 5", "times", ratio["interval"]),
        claim("share of the accuracy kept", 100 * kept["value"], ">= 97", "%", _percent(kept["interval"])),
        claim("time of all steps", seconds / 60, "<= 6", "minutes"),
    ]


def _at(subject: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    """The latency entry of the report's headline cell."""
    found: dict[str, Any] = next(
        entry
        for entry in subject["latency"]
        if all(entry.get(name) == cell[name] for name in ("mix", "batch", "length"))
    )
    return found


def _share(measure: dict[str, Any] | None) -> float | None:
    return None if measure is None or measure["value"] is None else round(100 * measure["value"], 2)


def _percent(interval: list[float] | None) -> list[float] | None:
    return None if interval is None else [100 * end for end in interval]


if __name__ == "__main__":
    main()
