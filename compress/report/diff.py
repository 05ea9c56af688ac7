"""Two stored reports compared: what became better or worse, as far as their intervals can tell."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from compress.bench.quality.draws import draw
from compress.bench.quality.forms import Sums, share
from compress.bench.statistics import FASTER, SLOWER, interval_of, verdict
from compress.core.artifact import MANIFEST
from compress.core.errors import InputError
from compress.report import numbers
from compress.report.collect import MEASURES, collect
from compress.report.numbers import value_of
from compress.report.subjects import best_rate, from_measures, main_quality

ROWS, MACHINE = "rows", "machine"
BETTER, WORSE, SAME, UNSURE = "BETTER", "WORSE", "SAME", "CANNOT TELL"
REPORT = "report.json"
# Half a point of a metric between 0 and 1: less is the seed of a training run, not a change that anybody acts on.
QUALITY_MARGIN = 0.005
# One reading of a process's peak moves by several percent between two starts of the same program.
MEMORY_MARGIN = 0.10
SPEED_PACKAGES = ("torch", "onnxruntime", "openvino", "transformers", "tokenizers", "numpy")
MACHINE_FACTS = {
    "cpu": "CPU", "cpu_flags": "CPU flags", "cores": "cores", "cgroup_cpu_quota": "CPU quota", "gpu": "GPU",
    "governor": "governor", "python": "Python",
}  # fmt: skip

Report = Mapping[str, Any]
Subject = Mapping[str, Any]
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Quantity:
    """One thing that both reports tell of a subject. kind: `quality` (a difference; more is better), `time` or `bytes`
    (new over old; less is better), `rate` (more is better). needs: what must be the same to compare it."""

    name: str
    kind: str
    read: Callable[[Subject], Mapping[str, Any] | None]
    needs: tuple[str, ...] = (ROWS, MACHINE)


def diff(old: Report, new: Report) -> dict[str, Any]:
    """`{"comparable": {"machine", "rows"}, "notes", "subjects": {name: [line]}}`.

    A line is `{"quantity", "unit", "old", "new", "change": {"value", "interval", "kind"}, "verdict"}`; a change of kind
    `ratio` is new over old, of kind `difference` new less old. What was measured on another machine, with other
    packages or threads, or on other rows, is CANNOT TELL, and a note says so.
    """
    names = [s["name"] for s in old["subjects"]]
    pairs = [(_named(old, s["name"]), s) for s in new["subjects"] if s["name"] in names]
    machine, rows = list(_machine_notes(old, new, pairs)), list(_row_notes(old, new))
    notes = [f"{note}: speed and memory cannot be compared" for note in machine]
    notes += [f"{note}: quality, memory and the speed on corpus texts cannot be compared" for note in rows]
    for words, mine, others in (("old", old, new), ("new", new, old)):
        known = {s["name"] for s in others["subjects"]}
        notes += [f"{s['name']} is in the {words} report only" for s in mine["subjects"] if s["name"] not in known]
    notes += [f"{s['name']} {s['status']} in one of them" for pair in pairs for s in pair if s["status"] != "ok"]
    comparable = {MACHINE: not machine, ROWS: not rows}
    subjects = {after["name"]: list(_lines(before, after, comparable)) for before, after in pairs}
    return {"comparable": comparable, "notes": notes, "subjects": subjects}


def table(found: Mapping[str, Any]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Titles and rows of a comparison, for a terminal."""
    rows = [
        [name, line["quantity"], *(_text(line, side) for side in ("old", "new")), _change(line), line["verdict"]]
        for name, lines in found["subjects"].items()
        for line in lines
    ]
    return ("model", "quantity", "old", "new", "change", "verdict"), rows


def read_report(place: Path) -> dict[str, Any]:
    """A report of a run folder, a folder with measures or a report.json, or one of these files.

    Raises InputError for anything else.
    """
    if place.is_dir():
        stored, sources = place / REPORT, (MEASURES, MANIFEST, f"*/{MANIFEST}")
        made = any(True for pattern in sources for _ in place.glob(pattern))
        return _from_file(stored) if stored.is_file() and not made else collect(place)
    if not place.is_file():
        raise InputError(f"{place}: no such file or folder; give a {REPORT}, a {MEASURES} or a folder that holds one")
    return _from_file(place)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); make the report again") from error
    if not isinstance(found, dict) or not isinstance(found.get("subjects"), list) or found.get("schema") != 1:
        raise InputError(f"{path}: neither a {REPORT} nor a {MEASURES} that this Stillroom reads")
    if "headline" in found:
        return found
    return {**found, "subjects": from_measures({path.stem: found}, {})}


def _named(report: Report, name: str) -> Subject:
    return next(subject for subject in report["subjects"] if subject["name"] == name)


def _machine_notes(old: Report, new: Report, pairs: list[tuple[Subject, Subject]]) -> Iterator[str]:
    """What differs between the two that decides speed."""
    here, there = old.get("environment") or {}, new.get("environment") or {}
    for key, word in MACHINE_FACTS.items():
        if here.get(key) != there.get(key):
            yield f"the {word} differs ({_shown(here.get(key))}, now {_shown(there.get(key))})"
    for name in SPEED_PACKAGES:
        before, after = ((one.get("packages") or {}).get(name) for one in (here, there))
        if before != after:
            yield f"{name} differs ({_shown(before)}, now {_shown(after)})"
    for before, after in pairs:
        for key in ("threads", "device"):
            if before.get(key) != after.get(key):
                yield f"{after['name']}: {key} differs ({_shown(before.get(key))}, now {_shown(after.get(key))})"


def _row_notes(old: Report, new: Report) -> Iterator[str]:
    here, there = old.get("corpus") or {}, new.get("corpus") or {}
    for key, word in (("key", "corpus"), ("split", "split"), ("rows", "number of rows")):
        if here.get(key) != there.get(key):
            yield f"the {word} differs ({_shown(here.get(key))}, now {_shown(there.get(key))})"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)[:40]


def _lines(before: Subject, after: Subject, comparable: Mapping[str, bool]) -> Iterator[dict[str, Any]]:
    for quantity in (*QUANTITIES, *_cells(before, after)):
        old, new = quantity.read(before), quantity.read(after)
        first, second = value_of(old), value_of(new)
        if old is None or new is None or first is None or second is None:
            continue
        sides = {side: {"value": m["value"], "interval": m.get("interval")} for side, m in (("old", old), ("new", new))}
        line = {"quantity": _name(quantity, after), "unit": new.get("unit", ""), **sides}
        if quantity.kind == "quality":
            change = _paired(before, after) if quantity.name == "quality" else None
            change = change or _difference(old, new)
            told = _judge_difference(change) if _metric(before) == _metric(after) else UNSURE
        else:
            change = _ratio(old, new)
            told = _judge_ratio(quantity, change)
        allowed = all(comparable[need] for need in quantity.needs)
        kind = "difference" if quantity.kind == "quality" else "ratio"
        value, interval = change
        shown = {"value": _short(value), "interval": interval and [_short(bound) for bound in interval], "kind": kind}
        yield {**line, "change": shown, "verdict": told if allowed else UNSURE}


def _name(quantity: Quantity, subject: Subject) -> str:
    return (_metric(subject) or quantity.name) if quantity.name == "quality" else quantity.name


def _metric(subject: Subject) -> str:
    return str((subject["quality"] or {}).get("metric") or "")


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[float, Interval]:
    return _mover(old, new, lambda value: value)


def _ratio(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[float, Interval]:
    """New over old; of logarithms it is a difference."""
    if not old["value"] > 0 or not new["value"] > 0:
        return math.nan, None
    value, interval = _mover(old, new, math.log)
    return math.exp(value), None if interval is None else (math.exp(interval[0]), math.exp(interval[1]))


def _mover(old: Mapping[str, Any], new: Mapping[str, Any], scale: Callable[[float], float]) -> tuple[float, Interval]:
    """New less old on a scale, with the interval that two independent intervals give (Zou and Donner 2008)."""
    first, second = scale(float(old["value"])), scale(float(new["value"]))
    value, spreads = second - first, (numbers.interval_of(old), numbers.interval_of(new))
    if spreads[0] is None or spreads[1] is None or (scale is math.log and min(spreads[0][0], spreads[1][0]) <= 0):
        return value, None
    (a, b), (c, d) = ([scale(bound) for bound in spread] for spread in spreads if spread is not None)
    return value, (value - math.hypot(second - c, b - first), value + math.hypot(d - second, first - a))


def _paired(before: Subject, after: Subject) -> tuple[float, Interval] | None:
    """The change of accuracy row by row, when both reports say which of the very same rows were right."""
    old, new = ((subject["quality"] or {}).get("right") for subject in (before, after))
    rows = (after["quality"] or {}).get("rows")
    if not old or not new or old.get("rows_key") != new.get("rows_key") or not rows or _metric(after) != "accuracy":
        return None
    right = [np.unpackbits(np.frombuffer(bytes.fromhex(one["bits"]), np.uint8))[:rows] for one in (old, new)]
    if len(right[0]) != rows or len(right[1]) != rows:
        return None
    gained = right[1].astype(np.float64) - right[0]
    form = Sums(_columns(gained), share)
    return float(gained.mean()), interval_of(draw({"change": form}, rows)["change"])


def _columns(gained: Any) -> Any:
    from scipy import sparse

    return sparse.csr_matrix(np.stack([gained, np.ones_like(gained)], axis=1))


def _judge_difference(change: tuple[float, Interval]) -> str:
    _, interval = change
    if interval is None:
        return UNSURE
    low, high = interval
    if low >= -QUALITY_MARGIN and high <= QUALITY_MARGIN:
        return SAME
    return BETTER if low > 0 else WORSE if high < 0 else UNSURE


def _judge_ratio(quantity: Quantity, change: tuple[float, Interval]) -> str:
    """By the margins of a benchmark's own verdicts; counted bytes have no interval, and one reading has a margin."""
    value, interval = change
    if not math.isfinite(value):
        return UNSURE
    gain = value if quantity.kind == "rate" else 1 / value
    if interval is not None:
        turned = interval if quantity.kind == "rate" else (1 / interval[1], 1 / interval[0])
        return {FASTER: BETTER, SLOWER: WORSE}.get(verdict(turned), verdict(turned))
    if quantity.kind != "bytes":
        return UNSURE
    margin = MEMORY_MARGIN if quantity.name.startswith("memory") else 0.001
    return BETTER if gain > 1 + margin else WORSE if gain < 1 / (1 + margin) else SAME


def _cells(before: Subject, after: Subject) -> Iterator[Quantity]:
    """The latency of every cell that both were timed at."""
    known = {_place(cell) for cell in before["latency"]}
    for cell in after["latency"]:
        place = _place(cell)
        if place in known:
            what = "corpus texts" if place[0] == "corpus" else f"{place[2]} tokens"
            needs = (ROWS, MACHINE) if place[0] == "corpus" else (MACHINE,)
            yield Quantity(f"p50, {place[1]} x {what}", "time", partial(_at, place), needs)


def _place(cell: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return cell.get("mix"), cell.get("batch"), cell.get("length")


def _at(place: tuple[Any, Any, Any], subject: Subject) -> Mapping[str, Any] | None:
    return next((cell.get("p50") for cell in subject["latency"] if _place(cell) == place), None)


def _text(line: Mapping[str, Any], side: str) -> str:
    measure, unit = line[side], line["unit"]
    if unit == "bytes":
        return numbers.size(measure)[0]
    if unit == "score":
        return numbers.quality(measure, line["quantity"])[0]
    return numbers.count(measure["value"]) if unit == "parameters" else numbers.plain(measure, unit)[0]


def _change(line: Mapping[str, Any]) -> str:
    value, interval = line["change"]["value"], line["change"]["interval"]
    if value is None:
        return numbers.DASH
    if line["change"]["kind"] == "ratio":
        return " ".join(numbers.times(value, interval)).strip()
    return " ".join(numbers.points({"value": value, "interval": interval}, line["quantity"])).strip()


def _short(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _in(group: str, name: str) -> Callable[[Subject], Mapping[str, Any] | None]:
    return lambda subject: (subject.get(group) or {}).get(name)


QUANTITIES = (
    Quantity("quality", "quality", main_quality, (ROWS,)),
    Quantity("size", "bytes", _in("size", "total"), ()),
    Quantity("parameters", "bytes", lambda subject: subject["parameters"], ()),
    Quantity("memory, peak", "bytes", _in("memory", "peak")),
    Quantity("memory, its own", "bytes", _in("memory", "own")),
    Quantity("load", "time", _in("load", "load"), (MACHINE,)),
    Quantity("cold start", "time", _in("load", "cold_start"), (MACHINE,)),
    Quantity("energy", "time", lambda subject: subject.get("energy")),
    Quantity("throughput", "rate", lambda subject: best_rate(subject)[0]),
)
