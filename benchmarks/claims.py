"""Claims: what was promised, what was measured, and whether it was met. Standard library only.

A file in results/ is {benchmark, commit, date, machine, seeds, rows, claims}; a claim is
{name, value, interval, unit, target, met}. `met` follows from the interval: its worse end must reach the target, so
that a lucky run is not a success. A claim that falls short stays in, with `met: false`.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
FIELDS = ("benchmark", "commit", "date", "machine", "seeds", "rows", "claims")
CLAIM_FIELDS = ("name", "value", "interval", "unit", "target", "met")
_COMPARE: dict[str, tuple[Callable[[float, float], bool], int]] = {
    ">=": (operator.ge, 0),
    ">": (operator.gt, 0),
    "<=": (operator.le, 1),
    "<": (operator.lt, 1),
}


def claim(
    name: str, value: float | None, target: str, unit: str = "", interval: Sequence[float] | None = None
) -> dict[str, Any]:
    """One claim, `met` computed. `target` is as the promise gives it, such as `">= 5"`; `interval` is (low, high)."""
    ends = None if interval is None else [float(interval[0]), float(interval[1])]
    return {
        "name": name,
        "value": value,
        "interval": ends,
        "unit": unit,
        "target": target,
        "met": met(value, ends, target),
    }


def met(value: float | None, interval: Sequence[float] | None, target: str) -> bool:
    """Whether the worse end of the interval (the value, without one) reaches the target. Raises ValueError."""
    sign, _, bound = target.strip().partition(" ")
    if sign not in _COMPARE:
        raise ValueError(f"a target is {', '.join(_COMPARE)} and a number, came {target!r}")
    compare, worse = _COMPARE[sign]
    if value is None:
        return False
    return compare(value if interval is None else interval[worse], float(bound))


def read_all(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Every results file, checked. Raises ValueError with the file's name for one that does not keep the contract."""
    return [read(path) for path in sorted(folder.glob("*.json"))]


def read(path: Path) -> dict[str, Any]:
    """One results file, checked."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    missing = [name for name in FIELDS if name not in document]
    if missing:
        raise ValueError(f"{path}: has no {', '.join(missing)}")
    for found in document["claims"]:
        lacking = [name for name in CLAIM_FIELDS if name not in found]
        if lacking:
            raise ValueError(f"{path}: the claim {found.get('name')!r} has no {', '.join(lacking)}")
        if found["met"] != met(found["value"], found["interval"], found["target"]):
            raise ValueError(f"{path}: the claim {found['name']!r} says met: {found['met']}, its interval does not")
    return document


def number(value: float | None, unit: str = "") -> str:
    """A number as a reader wants it: four significant digits, its unit behind."""
    if value is None:
        return "n/a"
    text = f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{text} {unit}".rstrip()
