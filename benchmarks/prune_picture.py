"""The picture of `benchmarks.prune`: accuracy against measured speed-up, a line for each criterion."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 640, 400


def draw(rows: list[dict[str, Any]], out: Path) -> None:
    """Write an SVG of the mean over seeds at each point. rows: `{by, faster, accuracy, point}`."""
    import altair as alt

    from compress.report.figures.theme import PAPER, chart, colours, config, legend, shapes, svg

    names = sorted({row["by"] for row in rows}, key=lambda name: (name == "random", name))
    points = [
        {"model": name, "faster": mine[0]["faster"], "accuracy": statistics.mean(row["accuracy"] for row in mine)}
        for name in names
        for point in sorted({row["point"] for row in rows})
        if (mine := [row for row in rows if row["by"] == name and row["point"] == point])
    ]
    teacher = statistics.mean(row["teacher"] for row in rows)
    colour = alt.Color(
        "model:N", legend=legend(names, WIDTH), scale=alt.Scale(domain=names, range=list(colours(names).values()))
    )
    shape = alt.Shape(
        "model:N", legend=legend(names, WIDTH), scale=alt.Scale(domain=names, range=list(shapes(names).values()))
    )
    low = min(point["accuracy"] for point in points)
    title = f"times faster than the teacher, measured (batch 1, {rows[0]['length']} tokens, ONNX Runtime)"
    axes = {
        "x": alt.X("faster:Q", title=title,
                   scale=alt.Scale(zero=False)),
        "y": alt.Y("accuracy:Q", title="dev accuracy without any training (%)",
                   scale=alt.Scale(domain=[int(low) - 1, int(teacher) + 2], zero=False)),
        "color": colour,
    }  # fmt: skip
    lines = chart(points).mark_line(strokeWidth=2).encode(**axes)
    marks = chart(points).mark_point(filled=True, size=70, opacity=1).encode(**axes, shape=shape)
    rule = chart([{"accuracy": teacher}]).mark_rule(strokeDash=[4, 4]).encode(y=axes["y"])
    whole = (rule + lines + marks).properties(width=WIDTH, height=HEIGHT, background=PAPER)
    out.write_text(svg({**whole.to_dict(), "config": config()}) + "\n", encoding="utf-8")
