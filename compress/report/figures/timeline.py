"""Memory over time: one panel a model, coloured by what the process was doing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import altair as alt

from compress.report.figures.theme import FADED, SERIES, chart, config, legend
from compress.report.numbers import bytes_text, fixed

PHASES = {"imports": FADED, "load": SERIES[0], "answer": SERIES[1]}
SAID = {"imports": "interpreter and imports", "load": "loading", "answer": "answering"}
POINTS = 160


def memory_timeline(report: Mapping[str, Any], width: int) -> dict[str, Any] | None:
    """Chart of the memory of each process since its start; None when no timeline was recorded."""
    found = {s["name"]: rows for s in report["subjects"] if len(rows := _rows(s)) > 1}
    if not found:
        return None
    columns = min(len(found), 3 if width > 500 else 1)
    top = max(row["mb"] for rows in found.values() for row in rows) * 1.05
    used = [SAID[phase] for phase in PHASES if any(r["phase"] == SAID[phase] for rows in found.values() for r in rows)]
    scale = alt.Scale(domain=used, range=[PHASES[phase] for phase in PHASES if SAID[phase] in used])
    colour = alt.Color("phase:N", title=None, scale=scale, legend=legend(used, width))
    room = 70 if columns > 1 else 64
    panels = [
        _panel(name, rows, colour, top).properties(width=(width - room * columns) / columns, height=130)
        for name, rows in found.items()
    ]
    drawn = alt.concat(*panels, columns=columns, spacing=24).resolve_scale(color="shared")
    return dict(drawn.configure(**config()).to_dict(validate=False))


def _rows(subject: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Points to draw; at a change of phase the earlier phase reaches up to the first point of the later."""
    line = [point for point in subject["memory"].get("timeline") or [] if len(point) >= 3 and point[2] in PHASES]
    rows: list[dict[str, Any]] = []
    for index, (second, used, phase) in enumerate(_thin(line)):
        said = f"{subject['name']}, {SAID[phase]}, {fixed(second, 2)} s: {bytes_text(used)}"
        row = {"s": second, "mb": used / 1e6, "phase": SAID[phase], "said": said}
        if index and rows[-1]["phase"] != SAID[phase]:
            rows.append({**row, "phase": rows[-1]["phase"]})
        rows.append(row)
    return rows


def _thin(line: list[list[Any]]) -> list[list[Any]]:
    """At most about `POINTS`: of each stretch of one phase the point with the most memory, so that no peak is lost."""
    stride = max(1, math.ceil(len(line) / POINTS))
    kept: list[list[Any]] = []
    for start in range(0, len(line), stride):
        stretch = line[start : start + stride]
        for phase in dict.fromkeys(point[2] for point in stretch):
            kept.append(max((point for point in stretch if point[2] == phase), key=lambda point: float(point[1])))
    return kept


def _panel(name: str, rows: list[dict[str, Any]], colour: alt.Color, top: float) -> Any:
    x = alt.X("s:Q", title="seconds since start", axis=alt.Axis(tickCount=5), scale=alt.Scale(nice=False, zero=True))
    y = alt.Y("mb:Q", title="memory, MB", stack=None, scale=alt.Scale(domain=[0, top], nice=False),
              axis=alt.Axis(tickCount=4))  # fmt: skip
    areas = chart(rows).mark_area(opacity=0.85, line=False, aria=False).encode(x=x, y=y, color=colour)
    peak = max(rows, key=lambda row: float(row["mb"]))
    dot = chart([peak]).mark_point(filled=True, size=40, opacity=1).encode(x=x, y=y, color=colour, description="said:N")
    return alt.layer(areas, dot).properties(title=name)
