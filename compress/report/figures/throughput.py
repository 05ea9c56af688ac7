"""Throughput against batch size, one line a model, the best batch drawn larger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from compress.report.figures.theme import chart, config, identity
from compress.report.figures.tradeoff import ticks
from compress.report.numbers import interval_of, per_second, value_of


def throughput(report: Mapping[str, Any], width: int) -> dict[str, Any] | None:
    """Chart of the search for the best batch; without one, of the corpus's cells; None for fewer than two batches."""
    found = {subject["name"]: _rows(subject) for subject in report["subjects"]}
    rows = [row for points in found.values() for row in points]
    if len({row["batch"] for row in rows}) < 2:
        return None
    colour, shape = identity(report, [name for name, points in found.items() if points], width)
    bounds = (min(row["low"] for row in rows) / 1.3, max(row["high"] for row in rows) * 1.3)
    batches = sorted({row["batch"] for row in rows})
    x = alt.X("batch:Q", title="texts in one request", axis=alt.Axis(values=batches, labelOverlap=True),
              scale=alt.Scale(type="log", base=2, nice=False))  # fmt: skip
    scale = alt.Scale(type="log", domain=list(bounds), nice=False)
    title = "texts per second"
    y = alt.Y("rate:Q", title=title, scale=scale, axis=alt.Axis(values=ticks(bounds), format="~g"))
    base = chart(rows).encode(x=x, y=y, color=colour)
    bars = chart(rows).mark_rule(strokeWidth=1.5, opacity=0.75, aria=False)
    size = alt.Size("area:Q", scale=None, legend=None)
    drawn = alt.layer(
        base.mark_line(strokeWidth=2, aria=False),
        bars.encode(x=x, y=alt.Y("low:Q", title=title, scale=scale), y2="high:Q", color=colour),
        base.mark_point(filled=True, opacity=1).encode(shape=shape, size=size, description="said:N"),
    ).properties(width=width - 66, height=300)
    return dict(drawn.configure(**config()).to_dict(validate=False))


def _rows(subject: Mapping[str, Any]) -> list[dict[str, Any]]:
    sought = subject.get("throughput") or {}
    sweep = [(entry.get("batch"), entry.get("rate")) for entry in sought.get("sweep") or []]
    if not sweep:
        timed = [entry for entry in subject["latency"] if entry.get("mix") == "corpus"]
        sweep = [(entry.get("batch"), entry.get("throughput")) for entry in timed]
    known = [(batch, rate, value) for batch, rate in sweep if batch and (value := value_of(rate) or 0.0) > 0]
    best = sought.get("batch") or max(known, key=lambda point: point[2], default=(None,))[0]
    rows = []
    for batch, rate, value in known:
        low, high = interval_of(rate) or (value, value)
        said = f"{subject['name']}, batch {batch}: {per_second(rate)[0]}{', its best' if batch == best else ''}"
        rows.append({"model": subject["name"], "batch": batch, "rate": value, "low": max(low, value / 3), "high": high,
                     "area": 170 if batch == best else 50, "said": said})  # fmt: skip
    return rows
