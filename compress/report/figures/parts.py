"""Stacked bars: disk size by part, and the memory bill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from compress.report.figures.theme import FADED, INK, SERIES, chart, config, legend
from compress.report.numbers import bytes_text, value_of
from compress.report.subjects import PARTS, memory_parts

PART_COLOURS = {
    "embeddings": SERIES[0],
    "encoder": SERIES[5],
    "head": SERIES[1],
    "tokenizer": SERIES[4],
    "other": FADED,
}
BILL_COLOURS = {"interpreter and imports": FADED, "weights and session": SERIES[0], "activations": SERIES[1],
                "loading": SERIES[4]}  # fmt: skip


def size_parts(report: Mapping[str, Any], width: int) -> dict[str, Any] | None:
    """Chart of disk size by embeddings, encoder, head, tokenizer and the rest; None when no subject has parts."""
    rows = [
        _row(s["name"], part, value_of(s["size"].get(part))) for s in report["subjects"] for part in PARTS
        if value_of(s["size"].get(part))
    ]  # fmt: skip
    totals = {s["name"]: value_of(s["size"].get("total")) for s in report["subjects"]}
    return _bars(rows, totals, PART_COLOURS, "size on disk, MB", width)


def memory_bill(report: Mapping[str, Any], width: int) -> dict[str, Any] | None:
    """Chart of peak memory: what the interpreter and imports take, what loading adds, what running adds."""
    rows: list[dict[str, Any]] = []
    totals: dict[str, float | None] = {}
    for subject in report["subjects"]:
        parts = memory_parts(subject)
        if parts is not None:
            named = zip(BILL_COLOURS, parts.values(), strict=True)
            rows += [_row(subject["name"], part, share) for part, share in named]
            totals[subject["name"]] = sum(parts.values())
    return _bars(rows, totals, BILL_COLOURS, "peak memory (PSS), MB", width)


def _row(name: str, part: str, value: float | None) -> dict[str, Any]:
    return {"model": name, "part": part, "mb": (value or 0.0) / 1e6, "said": f"{name}, {part}: {bytes_text(value)}"}


def _bars(
    rows: list[dict[str, Any]], totals: Mapping[str, float | None], palette: dict[str, str], title: str, width: int
) -> dict[str, Any] | None:
    if not rows:
        return None
    names = list(dict.fromkeys(row["model"] for row in rows))
    used = [part for part in palette if any(row["part"] == part for row in rows)]
    order = [{**row, "order": used.index(row["part"])} for row in rows]
    longest = max(len(name) for name in names)
    y = alt.Y("model:N", sort=names, title=None, axis=alt.Axis(labelLimit=150, labelFontSize=12, ticks=False))
    colour = alt.Color("part:N", title=None, scale=alt.Scale(domain=used, range=[palette[part] for part in used]),
                       legend=legend(used, width))  # fmt: skip
    bars = chart(order).mark_bar(height={"band": 0.66}).encode(
        x=alt.X("mb:Q", title=title, stack="zero", axis=alt.Axis(tickCount=5)), y=y, color=colour,
        order=alt.Order("order:Q"), description="said:N",
    )  # fmt: skip
    ends = [
        {"model": name, "mb": (totals.get(name) or 0.0) / 1e6, "text": bytes_text(totals.get(name))} for name in names
    ]
    text = chart(ends).mark_text(align="left", dx=6, fontSize=12, color=INK, aria=False)
    labelled = text.encode(x="mb:Q", y=y, text="text:N")
    room = min(150, 8 * longest) + 70
    drawn = alt.layer(bars, labelled).properties(width=max(120, width - room), height=34 * len(names))
    return dict(drawn.configure(**config()).to_dict(validate=False))
