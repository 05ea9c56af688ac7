"""The main picture: quality against latency, dot area for size, error bars, dominated models grey."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt

from compress.report.figures.place import Dot, place_labels
from compress.report.figures.theme import FADED, INK, PAPER, chart, colours, config
from compress.report.numbers import bytes_text, interval_of, is_share, milliseconds, quality, value_of
from compress.report.subjects import dominated, headline_cell, latency_at, main_quality
from compress.report.tables import cell_words

LARGEST = 1500.0  # px² of the largest dot
MARGIN = 62  # px for the axis on the left
NICE = (1, 1.5, 2, 3, 5, 7)


@dataclass(frozen=True)
class Frame:
    """Where data lands: bounds of both axes (the cost logarithmic) and the size of the picture in pixels."""

    cost: tuple[float, float]
    quality: tuple[float, float]
    width: float
    height: float

    def x(self, value: float) -> float:
        """Pixels from the left."""
        low, high = map(math.log, self.cost)
        return (math.log(value) - low) / (high - low) * self.width

    def y(self, value: float) -> float:
        """Pixels from the top."""
        low, high = self.quality
        return (high - value) / (high - low) * self.height


def tradeoff(report: Mapping[str, Any], width: int) -> dict[str, Any] | None:
    """Chart of every subject that has quality and latency (without latency: and size); None for fewer than one."""
    subjects = report["subjects"]
    cell = headline_cell(subjects)
    points = [point for subject in subjects if (point := _point(subject, cell))]
    if not points:
        return None
    for point, beaten in zip(points, dominated([(p["cost"], p["quality"]) for p in points]), strict=True):
        point["beaten"] = beaten
    palette = colours([subject["name"] for subject in subjects])
    share = is_share(points[0]["metric"])
    frame = _frame(points, width)
    for point in points:
        point["colour"] = FADED if point["beaten"] else palette[point["model"]]
    axis_x = "size on disk, MB"
    if cell:
        axis_x = f"latency p50, ms{f' ({cell_words(cell)})' if width > 500 else ''}"
    axis_y = f"{points[0]['metric'].replace('_', ' ')}{', %' if share else ''}"

    def at(layer: Any, across: str = "cost", up: str = "quality") -> Any:
        scale_x = alt.Scale(type="log", domain=list(frame.cost), nice=False)
        scale_y = alt.Scale(domain=list(frame.quality), nice=False, zero=False)
        axis = alt.Axis(values=ticks(frame.cost), format="~g")
        x = alt.X(field=across, type="quantitative", title=axis_x, scale=scale_x, axis=axis)
        return layer.encode(x=x, y=alt.Y(field=up, type="quantitative", title=axis_y, scale=scale_y))

    layers = [*map(at, _lines(points)), at(_bars(points, "x"), across="left"), at(_bars(points, "y"), up="low")]
    layered = alt.layer(*layers, at(_dots(points)), *map(at, _labels(points, frame)))
    return dict(
        layered.properties(width=frame.width, height=frame.height).configure(**config()).to_dict(validate=False)
    )


def _point(subject: dict[str, Any], cell: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A subject as numbers to draw: cost in ms (MB when nothing was timed), quality in percent where it is a share."""
    if subject["status"] != "ok" or not subject["quality"]:
        return None
    metric, measure = subject["quality"]["metric"], main_quality(subject)
    entry = latency_at(subject, cell)
    cost = entry.get("p50") if entry else None
    disk = value_of(subject["size"].get("total"))
    if cell is None and disk is not None:
        cost = {"value": disk / 1e6}
    value, spent = value_of(measure), value_of(cost)
    if value is None or spent is None or spent <= 0:
        return None
    scale = 100 if is_share(metric) else 1
    low, high = interval_of(measure) or (value, value)
    left, right = interval_of(cost) or (spent, spent)
    said = f"{subject['name']}: {quality(measure, metric)[0]} {metric}, "
    said += f"{milliseconds(cost)[0]}, {bytes_text(disk)}" if cell else bytes_text(disk)
    return {
        "model": subject["name"], "metric": metric, "cost": spent, "left": left, "right": right,
        "quality": value * scale, "low": low * scale, "high": high * scale, "bytes": disk or 0.0, "said": said,
    }  # fmt: skip


def _frame(points: list[dict[str, Any]], width: int) -> Frame:
    left, right = min(p["left"] for p in points), max(p["right"] for p in points)
    low, high = min(p["low"] for p in points), max(p["high"] for p in points)
    room = max((high - low) * 0.18, 0.01 * max(abs(high), 1e-9))
    cost = (left / 1.6, right * 1.6) if width > 500 else (left / 2.2, right * 2.2)
    return Frame(cost, (low - room, high + room), width - MARGIN, 400 if width > 500 else 300)


def _lines(points: list[dict[str, Any]]) -> list[alt.Chart]:
    """The front: what nothing beats, from cheap to good."""
    front = sorted((p for p in points if not p["beaten"]), key=lambda p: float(p["cost"]))
    if len(front) < 2:
        return []
    return [chart(front).mark_line(color=FADED, strokeDash=[5, 4], strokeWidth=1.5, aria=False)]


def _bars(points: list[dict[str, Any]], axis: str) -> Any:
    rule = chart(points).mark_rule(strokeWidth=1.5, opacity=0.75, aria=False)
    colour = alt.Color("colour:N", scale=None, legend=None)
    return rule.encode(x2="right:Q", color=colour) if axis == "x" else rule.encode(y2="high:Q", color=colour)


def _dots(points: list[dict[str, Any]]) -> Any:
    most = max(p["bytes"] for p in points)
    data = [{**p, "area": max(30.0, LARGEST * p["bytes"] / most) if most else 120.0} for p in points]
    marks = chart(data).mark_point(filled=True, opacity=0.88, stroke=PAPER, strokeWidth=1.5)
    return marks.encode(
        size=alt.Size("area:Q", scale=None, legend=None),
        color=alt.Color("colour:N", scale=None, legend=None),
        description="said:N",
    )


def _labels(points: list[dict[str, Any]], frame: Frame) -> list[alt.Chart]:
    most = max(p["bytes"] for p in points) or 1.0
    areas = [max(30.0, LARGEST * p["bytes"] / most) for p in points]
    dots = [
        Dot(frame.x(p["cost"]), frame.y(p["quality"]), math.sqrt(area / math.pi), p["model"])
        for p, area in zip(points, areas, strict=True)
    ]
    bars = [(frame.x(p["cost"]) - 4, frame.y(p["high"]), frame.x(p["cost"]) + 4, frame.y(p["low"])) for p in points]
    bars += [
        (frame.x(p["left"]), frame.y(p["quality"]) - 4, frame.x(p["right"]), frame.y(p["quality"]) + 4) for p in points
    ]
    return [
        chart([point]).mark_text(
            align=label.align, baseline="middle", fontSize=12, fontWeight=600, aria=False,
            dx=label.x - dot.x, dy=label.y - dot.y, color=INK,
        ).encode(text="model:N")
        for point, dot, label in zip(points, dots, place_labels(dots, frame.width, frame.height, bars), strict=True)
    ]  # fmt: skip


def ticks(bounds: tuple[float, float]) -> list[float]:
    """Round numbers inside logarithmic bounds, some six of them."""
    low, high = bounds
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in (NICE, (1, 2, 5), (1, 3), (1,)):
        found = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
        if len(found) <= 9:
            return found
    return found
