"""Training curves: for each trained step the loss and the dev metric over its steps."""

from __future__ import annotations

import math
from typing import Any

import altair as alt

from compress.report.figures.theme import SERIES, chart, config
from compress.report.numbers import fixed, is_share

POINTS = 400


def curves(history: list[dict[str, Any]], name: str, width: int) -> dict[str, Any] | None:
    """Chart of one step's history; None when it holds fewer than two points of anything."""
    scores = [key for point in history if isinstance(point.get("dev"), dict) for key in point["dev"]]
    metric = next((key for key in scores if is_share(key)), scores[0] if scores else "")
    series: list[tuple[str, list[tuple[int, Any]], str]] = [
        ("loss", [(p["step"], p.get("loss")) for p in history if "step" in p], SERIES[0])
    ]
    if metric:
        dev = [(p["step"], p["dev"].get(metric)) for p in history if "step" in p and isinstance(p.get("dev"), dict)]
        scale = 100 if is_share(metric) else 1
        shown = f"dev {metric.replace('_', ' ')}{', %' if scale == 100 else ''}"
        series.append((shown, [(step, value * scale) for step, value in dev if _number(value)], SERIES[1]))
    usable = [(title, _thin([(s, v) for s, v in points if _number(v)]), colour) for title, points, colour in series]
    usable = [(title, points, colour) for title, points, colour in usable if len(points) > 1]
    if not usable:
        return None
    columns = 2 if width > 500 else 1
    each = (width - 68 * columns) / columns
    panels = [
        _panel(name, title, points, colour).properties(width=each, height=170) for title, points, colour in usable
    ]
    return dict(alt.concat(*panels, columns=columns, spacing=24).configure(**config()).to_dict(validate=False))


def _panel(name: str, title: str, points: list[tuple[int, float]], colour: str) -> alt.Chart:
    rows = [{"step": step, "value": value, "said": f"{name}, step {step}: {fixed(value, 3)}"} for step, value in points]
    marks: alt.Chart = chart(rows).mark_line(
        color=colour, strokeWidth=2, point={"size": 28, "color": colour} if len(rows) <= 40 else False
    )
    y = alt.Y("value:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
    x = alt.X("step:Q", title="step", axis=alt.Axis(tickCount=5, format=",d"))
    drawn: alt.Chart = marks.encode(x=x, y=y, description="said:N")
    return drawn


def _thin(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most `POINTS` of them, evenly, the last one kept."""
    stride = max(1, math.ceil(len(points) / POINTS))
    return [point for index, point in enumerate(points) if index % stride == 0 or index == len(points) - 1]


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
