"""Write a results file: rows and claims with the commit, the date and the machine that they come from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.claims import RESULTS, read
from compress.core.artifact import write_json
from compress.core.environment import environment


def with_earlier(benchmark: str, rows: list[dict[str, Any]], by: str, order: Sequence[str]) -> list[dict[str, Any]]:
    """`rows`, and of each group in `order` that they lack what results/BENCHMARK.json has, in that order.

    by: the column that names a row's group. A row that was measured earlier says where in `earlier`: its CPU, GPU,
    commit and date. So a benchmark of days can be run part by part, on the machines that there are.
    """
    path = RESULTS / f"{benchmark}.json"
    if not path.is_file():
        return rows
    document = read(path)
    machine = document["machine"]
    source = {
        "cpu": machine.get("cpu", ""),
        "gpu": ", ".join(machine.get("gpu") or []),
        "commit": document["commit"],
        "date": document["date"],
    }
    held = [{**row, "earlier": row.get("earlier", source)} for row in document["rows"]]
    there = {row[by] for row in rows}
    found: list[dict[str, Any]] = []
    for group in order:
        found += [row for row in (rows if group in there else held) if row[by] == group]
    return found


def record(
    benchmark: str,
    seeds: Sequence[int],
    rows: list[dict[str, Any]],
    claims: list[dict[str, Any]],
    machine: dict[str, Any] | None = None,
) -> Path:
    """Write results/BENCHMARK.json (beside, then renamed) and return its path.

    machine: the environment that the numbers were measured in, when that was not this process.
    """
    machine = machine or environment()
    document = {
        "benchmark": benchmark,
        "commit": machine.get("git_commit", ""),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine,
        "cuda": "see machine.gpu" if machine.get("gpu") else "not run: the machine has no GPU",
        "seeds": list(seeds),
        "rows": rows,
        "claims": claims,
    }
    RESULTS.mkdir(exist_ok=True)
    beside = RESULTS / f".{benchmark}.json"
    write_json(beside, document)
    read(beside)
    final = RESULTS / f"{benchmark}.json"
    os.replace(beside, final)
    return final
