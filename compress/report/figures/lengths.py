"""Latency against length, one panel a batch size, one line a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from compress.report.figures.theme import chart, config, identity
from compress.report.figures.tradeoff import ticks
from compress.report.numbers import interval_of, milliseconds, value_of


def lengths(report: Mapping[str, Any], width: int) -> dict[str, Any] | None:
    """Chart of the grid of batch sizes and lengths; None when fewer than two lengths were measured."""
    rows = [row for subject in report["subjects"] for row in _rows(subject)]
    if len({row["length"] for row in rows}) < 2:
        return None
    names = [s["name"] for s in report["subjects"] if any(row["model"] == s["name"] for row in rows)]
    channels = identity(report, names, width)
    batches = sorted({row["batch"] for row in rows})
    columns = min(len(batches), 3 if width > 500 else 1)
    bounds = (min(row["low"] for row in rows) / 1.3, max(row["high"] for row in rows) * 1.3)
    panels = [_panel([r for r in rows if r["batch"] == batch], batch, channels, bounds) for batch in batches]
    room = 62 if width > 500 else 70
    panels = [panel.properties(width=(width - room * columns) / columns, height=210) for panel in panels]
    drawn = alt.concat(*panels, columns=columns, spacing=24).resolve_scale(color="shared", shape="shared")
    return dict(drawn.configure(**config()).to_dict(validate=False))


def _rows(subject: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for entry in subject["latency"]:
        value = value_of(entry.get("p50"))
        if entry.get("mix") != "corpus" and entry.get("length") and value is not None and value > 0:
            low, high = interval_of(entry["p50"]) or (value, value)
            where = f"{subject['name']}, batch {entry['batch']}, {entry['length']} tokens"
            said = f"{where}: {milliseconds(entry['p50'])[0]}"
            rows.append({"model": subject["name"], "batch": entry["batch"], "length": entry["length"],
                         "ms": value, "low": low, "high": high, "said": said})  # fmt: skip
    return rows


def _panel(
    rows: list[dict[str, Any]], batch: int, channels: tuple[alt.Color, alt.Shape], bounds: tuple[float, float]
) -> Any:
    steps = sorted({row["length"] for row in rows})
    x = alt.X("length:Q", title="tokens", axis=alt.Axis(values=steps), scale=alt.Scale(type="log", base=2, nice=False))
    scale = alt.Scale(type="log", domain=list(bounds), nice=False)
    y = alt.Y("ms:Q", title="latency p50, ms", scale=scale, axis=alt.Axis(values=ticks(bounds), format="~g"))
    base = chart(rows).encode(x=x, y=y, color=channels[0])
    bars = chart(rows).mark_rule(strokeWidth=1.5, opacity=0.75, aria=False)
    return alt.layer(
        base.mark_line(strokeWidth=2, aria=False),
        bars.encode(x=x, y=alt.Y("low:Q", title="latency p50, ms", scale=scale), y2="high:Q", color=channels[0]),
        base.mark_point(filled=True, size=55).encode(shape=channels[1], description="said:N"),
    ).properties(title=f"batch {batch}")
