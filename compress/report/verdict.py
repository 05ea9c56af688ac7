"""The sentence on top of a report, and the subject that it speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compress.report.numbers import interval_of, is_share, percent, quality, times, value_of
from compress.report.subjects import headline_cell, latency_at, main_quality

GOOD_ENOUGH = 0.97  # of the reference's metric: the share that DistilBERT kept, and the usual bar since
SURE = ("FASTER", "SLOWER")


def headline(subjects: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The student that a report is about: the fastest (else smallest) of those that keep 97 % of the reference's
    quality, or the one that keeps most when none does. None when there is nothing to compare."""
    cell = headline_cell(subjects)
    rivals = [s for s in subjects if not s["reference"] and s["status"] == "ok" and s["quality"]]
    if not rivals or not any(s["reference"] for s in subjects):
        return None
    good = [s for s in rivals if (_retained(s) or 0.0) >= GOOD_ENOUGH]
    pool = good or [max(rivals, key=lambda s: _retained(s) or 0.0)]
    chosen = max(pool, key=lambda s: (_speed(s, cell) or 0.0, s["size_ratio"] or 0.0))
    entry = latency_at(chosen, cell)
    return {
        "subject": chosen["name"],
        "reference": next(s["name"] for s in subjects if s["reference"]),
        "metric": chosen["quality"]["metric"],
        "retained": chosen["quality"]["retained"],
        "faster": entry.get("ratio") if entry else None,
        "smaller": chosen["size_ratio"],
        "cell": cell,
    }


def verdict(report: Mapping[str, Any]) -> str:
    """One sentence: what the best student keeps, and what it saves. Says so when something could not be told."""
    top = report["headline"]
    if top is None:
        return _alone(report["subjects"])
    metric = "quality" if not top["metric"] else str(top["metric"]).replace("_", " ")
    parts = [kept(top["retained"], f"the {top['reference']}'s {metric}")]
    if top["faster"] is not None:
        parts.append(speed(top["faster"]))
    if top["smaller"] is not None:
        parts.append(_smaller(top["smaller"]))
    return f"{top['subject']}: {', '.join(part for part in parts if part)}"


def kept(retained: Mapping[str, Any] | None, of_what: str) -> str:
    """`97.2 % of the teacher's accuracy [96.1, 98.0]`."""
    text, spread = percent(retained)
    if value_of(retained) is None:
        return f"share of {of_what} not known"
    return f"{text} of {of_what}{f' {spread}' if spread else ''}"


def speed(ratio: Mapping[str, Any]) -> str:
    """`12× faster [11.8, 12.4]`, or that no difference was found, or that it cannot be told."""
    value, word = value_of(ratio), str(ratio.get("verdict") or "")
    if value is None:
        return "speed not known"
    text, spread = times(value if value >= 1 else 1 / value, _turned(ratio))
    if word == "SAME":
        return "as fast"
    if word == "CANNOT TELL":
        return f"whether faster cannot be told {times(value, interval_of(ratio))[1]}".strip()
    return f"{text} {'faster' if value >= 1 else 'slower'}{f' {spread}' if spread else ''}"


def gate_words(gate: Mapping[str, Any] | None) -> str:
    """`gate passed: 4 of 4 limits met`, or which limits were surely missed; empty without a gate."""
    if not gate:
        return ""
    limits = gate.get("limits") or []
    count = {state: sum(limit["state"] == state for limit in limits) for state in ("met", "cannot tell")}
    open_ = f", {count['cannot tell']} cannot be told either way" if count["cannot tell"] else ""
    if gate["passed"]:
        return f"gate passed: {count['met']} of {len(limits)} limits met{open_}"
    missed = [
        f"{found['subject']} {found['limit']}".replace("_", " ") for found in limits if found["state"] == "missed"
    ]
    return f"gate failed: {', '.join(missed)} missed{open_}"


def _turned(ratio: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of the ratio as it is told: upside down for a slow-down."""
    interval, value = interval_of(ratio), value_of(ratio)
    if interval is None or value is None or value >= 1 or min(interval) <= 0:
        return interval
    return 1 / interval[1], 1 / interval[0]


def _smaller(ratio: float) -> str:
    if 0.995 < ratio < 1.005:
        return "the same size"
    return f"{times(ratio)[0]} smaller" if ratio > 1 else f"{times(1 / ratio)[0]} larger"


def _alone(subjects: list[dict[str, Any]]) -> str:
    """Without a reference and a student to compare: what is there."""
    known = [(s, main_quality(s)) for s in subjects if s["status"] == "ok" and s["quality"]]
    if not known:
        if any(s["latency"] for s in subjects):
            return "measured without quality, so there is no verdict"
        failed = [s["name"] for s in subjects if s["status"] != "ok"]
        return f"nothing could be measured ({', '.join(failed)} failed)" if failed else "no model was measured yet"
    subject, measure = max(known, key=lambda pair: value_of(pair[1]) or 0.0)
    metric = subject["quality"]["metric"]
    text, spread = quality(measure, metric)
    where = f" on {subject['quality']['split']}" if subject["quality"].get("split") else ""
    words = metric.replace("_", " ")
    shown = f"{text} {words}" if is_share(metric) else f"{words} = {text}"
    return f"{subject['name']}: {shown}{where}{f' {spread}' if spread else ''}; nothing to compare it with"


def _retained(subject: Mapping[str, Any]) -> float | None:
    return value_of(subject["quality"]["retained"])


def _speed(subject: Mapping[str, Any], cell: Mapping[str, Any] | None) -> float | None:
    entry = latency_at(subject, cell)
    return value_of(entry.get("ratio")) if entry else None
