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
