"""Print every claim of results/*.json: what was promised, what was measured, whether it was met.

python -m benchmarks.show
"""

from __future__ import annotations

from typing import Any

from benchmarks.claims import number, read_all


def main() -> None:
    """All files, one block each, and a closing count."""
    documents = read_all()
    for document in documents:
        print(heading(document))
        print("\n".join(lines(document["claims"])), end="\n\n")
    claims = [found for document in documents for found in document["claims"]]
    print(f"{sum(found['met'] for found in claims)} of {len(claims)} claims met, in {len(documents)} files")


def heading(document: dict[str, Any]) -> str:
    """`sst2 · 2025-01-02 · commit · seeds 1, 2 · CPU`."""
    machine = document["machine"]
    place = str(machine.get("cpu", "")) if isinstance(machine, dict) else str(machine)
    seeds = ", ".join(map(str, document["seeds"]))
    parts = [document["benchmark"], document["date"], document["commit"] or "no commit", f"seeds {seeds}", place]
    return " · ".join(part for part in parts if part)


def lines(claims: list[dict[str, Any]]) -> list[str]:
    """One aligned line a claim."""
    rows = [("met" if c["met"] else "SHORT", c["name"], c["target"], measured(c)) for c in claims]
    widths = [max((len(row[place]) for row in rows), default=0) for place in range(3)]
    return [f"  {a:<{widths[0]}}  {b:<{widths[1]}}  target {c:<{widths[2]}}  measured {d}" for a, b, c, d in rows]


def measured(found: dict[str, Any]) -> str:
    """`101.2 % [100.4, 102.1]`."""
    ends = found["interval"]
    spread = f" [{number(ends[0])}, {number(ends[1])}]" if ends else ""
    return f"{number(found['value'], found['unit'])}{spread}"


if __name__ == "__main__":
    main()
