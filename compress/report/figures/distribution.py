"""Latency distribution: for each model how often a request took how long, from the stored samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import altair as alt

from compress.report.figures.theme import INK, SOFT, chart, colours, config
from compress.report.figures.tradeoff import ticks
from compress.report.numbers import fixed, interval_of, milliseconds, value_of
from compress.report.subjects import headline_cell, latency_at

LEAST = 10  # samples below which a shape says nothing
BAND = 62  # px of one model: its name, and the bars below


def distribution(report: Mapping[str, Any], width: int) -> dict[str, Any] | None:
    """Chart of the samples of the headline cell; None when no subject stored enough of them."""
    cell = headline_cell(report["subjects"])
    timed = {subject["name"]: latency_at(subject, cell) for subject in report["subjects"]}
    found = {name: entry["p50"] for name, entry in timed.items() if entry and len(_samples(entry["p50"])) >= LEAST}
    if not found:
        return None
    everything = [sample for measure in found.values() for sample in _samples(measure)]
    bounds = (min(everything) / 1.15, max(everything) * 1.15)
    palette = colours([subject["name"] for subject in report["subjects"]])
    count = 90 if width > 500 else 45
    bars = [
        {**bar, "colour": palette[name]} for row, (name, measure) in enumerate(found.items())
        for bar in _bars(name, _samples(measure), row, bounds, count)
    ]  # fmt: skip
    words = [_words(name, measure, row, bounds) for row, (name, measure) in enumerate(found.items())]
    drawn = alt.layer(*_layers(bars, words, bounds)).properties(width=width - 30, height=BAND * len(found))
    return dict(drawn.configure(**config()).to_dict(validate=False))


def _layers(bars: list[dict[str, Any]], words: list[dict[str, Any]], bounds: tuple[float, float]) -> list[Any]:
    """Bars, the line they stand on, names, and the median with its interval as a mark through the bars."""
    scale = alt.Scale(type="log", domain=list(bounds), nice=False)
    axis = alt.Axis(values=ticks(bounds), format="~g")
    height = alt.Scale(domain=[len(words), 0], nice=False)

    def at(layer: Any, across: str, up: str, **more: Any) -> Any:
        x = alt.X(field=across, type="quantitative", scale=scale, title="one request, ms", axis=axis)
        return layer.encode(x=x, y=alt.Y(field=up, type="quantitative", scale=height, title=None, axis=None), **more)

    rects = chart(bars).mark_rect(opacity=0.85)
    floor = chart(words).mark_rule(color=SOFT, strokeWidth=1, opacity=0.5, aria=False)
    names = chart(words).mark_text(align="left", dx=2, fontSize=12, fontWeight=600, color=INK, aria=False)
    middle = chart(words).mark_rule(color=INK, strokeWidth=2, aria=False)
    span = chart(words).mark_rule(color=INK, strokeWidth=4, opacity=0.8, aria=False)
    colour = alt.Color("colour:N", scale=None, legend=None)
    return [
        at(rects, "left", "top", x2="right:Q", y2="base:Q", color=colour, description="said:N"),
        at(floor, "from", "base", x2="to:Q"),
        at(names, "from", "line", text="text:N"),
        at(middle, "median", "top", y2="base:Q"),
        at(span, "low", "top", x2="high:Q"),
    ]


def _samples(measure: Mapping[str, Any] | None) -> list[float]:
    return [float(sample) for sample in (measure or {}).get("samples") or [] if sample and sample > 0]


def _bars(name: str, samples: list[float], row: int, bounds: tuple[float, float], count: int) -> list[dict[str, Any]]:
    """A histogram with bins of equal ratio, as high as the band leaves room for."""
    low, high = map(math.log, bounds)
    filled = [0] * count
    for sample in samples:
        filled[min(count - 1, int((math.log(sample) - low) / (high - low) * count))] += 1
    edges = [math.exp(low + (high - low) * index / count) for index in range(count + 1)]
    return [
        {
            "left": edges[index], "right": edges[index + 1], "base": row + 0.97,
            "top": row + 0.97 - 0.54 * many / max(filled),
            "said": f"{name}: {many} of {len(samples)} requests took {fixed(edges[index], 2)} to "
                    f"{fixed(edges[index + 1], 2)} ms",
        }
        for index, many in enumerate(filled) if many
    ]  # fmt: skip


def _words(name: str, measure: Mapping[str, Any], row: int, bounds: tuple[float, float]) -> dict[str, Any]:
    """Where the band of a model lies, its name and median in words, and the median's place and interval."""
    text, spread = milliseconds(measure)
    value = value_of(measure)
    low, high = interval_of(measure) or (value, value)
    return {
        "from": bounds[0], "to": bounds[1], "line": row + 0.2, "top": row + 0.39, "base": row + 0.97,
        "text": f"{name}: median {text} {spread}".strip(), "median": value, "low": low, "high": high,
    }  # fmt: skip
