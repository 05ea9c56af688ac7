"""Quality by slice: what each model lost on the slices that lost most, with the interval of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from compress.report.figures.theme import INK, PAPER, chart, config, identity
from compress.report.numbers import interval_of, is_share, points, value_of
from compress.report.subjects import slice_metric

MOST = 12


def slices(report: Mapping[str, Any], width: int) -> dict[str, Any] | None:
    """Chart of the drop against the reference, the worst slices of the headline's model first; None without slices."""
    subjects = [s for s in report["subjects"] if not s["reference"] and s["quality"] and s["quality"].get("slices")]
    found = {subject["name"]: _rows(subject) for subject in subjects}
    names = [name for name, rows in found.items() if rows]
    if not names:
        return None
    top = report.get("headline")
    first = top["subject"] if top and top["subject"] in names else names[0]
    ordered = sorted((row for rows in found.values() for row in rows), key=lambda row: -row["drop"])
    order = list(dict.fromkeys(row["slice"] for row in [*(r for r in ordered if r["model"] == first), *ordered]))[:MOST]
    rows = [row for name in names for row in found[name] if row["slice"] in order]
    metric = next(slice_metric(s, s["quality"]["slices"][0]) for s in subjects if s["name"] == first)
    title = f"{metric.replace('_', ' ')} lost{', points' if is_share(metric) else ''}"
    longest = max(len(name) for name in order)
    room = min(210 if width > 500 else 120, 7 * longest) + 16
    drawn = alt.layer(*_layers(identity(report, names, width), rows, names, order, title, room)).properties(
        width=max(140, width - room), height=max(30, 15 * len(names) + 8) * len(order)
    )
    return dict(drawn.configure(**config()).to_dict(validate=False))


def _rows(subject: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for found in subject["quality"]["slices"]:
        metric = slice_metric(subject, found)
        scale = 100 if is_share(metric) else 1
        value = value_of(found.get("drop"))
        if value is None:
            continue
        low, high = interval_of(found["drop"]) or (value, value)
        name = f"{found['by']} {found['slice']} ({found['rows']})"
        text, spread = points(found["drop"], metric)
        rows.append({"model": subject["name"], "slice": name, "drop": value * scale, "low": low * scale,
                     "high": high * scale, "sure": low > 0 or high < 0,
                     "said": f"{subject['name']}, {name}: lost {text} {spread}".rstrip()})  # fmt: skip
    return rows


def _layers(
    channels: tuple[alt.Color, alt.Shape],
    rows: list[dict[str, Any]],
    names: list[str],
    order: list[str],
    title: str,
    room: int,
) -> list[Any]:
    colour, shape = channels
    y = alt.Y("slice:N", sort=order, title=None, axis=alt.Axis(labelLimit=room - 10, ticks=False, grid=True))
    offset = alt.YOffset("model:N", sort=names)
    x = alt.X("low:Q", title=title, axis=alt.Axis(tickCount=6))
    zero = chart([{"low": 0}]).mark_rule(color=INK, strokeWidth=1.5, aria=False).encode(x=x)
    bars = chart(rows).mark_rule(strokeWidth=2, aria=False)
    spans = bars.encode(x=x, x2="high:Q", y=y, yOffset=offset, color=colour)
    at = {"x": alt.X("drop:Q", title=title), "y": y, "yOffset": offset, "color": colour, "shape": shape}
    said = "said:N"
    sure = chart([row for row in rows if row["sure"]]).mark_point(filled=True, size=70, opacity=1)
    open_ = chart([row for row in rows if not row["sure"]]).mark_point(fill=PAPER, size=55, opacity=1)
    return [zero, spans, open_.encode(**at, description=said), sure.encode(**at, description=said)]
