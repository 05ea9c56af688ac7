"""Every picture of a report: its section of the page, its title, and a sentence that says how to read it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from compress.report.figures.curves import curves
from compress.report.figures.distribution import distribution
from compress.report.figures.lengths import lengths
from compress.report.figures.parts import memory_bill, size_parts
from compress.report.figures.slices import slices
from compress.report.figures.theme import NARROW, WIDE, svg
from compress.report.figures.throughput import throughput
from compress.report.figures.timeline import memory_timeline
from compress.report.figures.tradeoff import tradeoff
from compress.report.numbers import interval_of
from compress.report.subjects import headline_cell, main_quality
from compress.report.tables import cell_words

Report = Mapping[str, Any]
Draw = Callable[[int], dict[str, Any] | None]
SLICES = (
    "The slices that lost most against the reference, the worst on top; right of the line is lost, left is gained. "
    "Bars are 95 % intervals; a hollow mark's interval holds zero: whether that slice lost cannot be told."
)


@dataclass(frozen=True)
class Picture:
    """A drawn picture, as SVG text for wide and for narrow screens. `name` is its file's."""

    name: str
    section: str
    title: str
    caption: str
    wide: str
    narrow: str


def gallery(report: Report) -> list[Picture]:
    """Every picture that has data."""
    found = []
    for name, section, title, caption, draw in _pictures(report):
        wide, narrow = draw(WIDE), draw(NARROW)
        if wide is not None and narrow is not None:
            found.append(Picture(name, section, title, caption, svg(wide), svg(narrow)))
    return found


def _pictures(report: Report) -> Iterator[tuple[str, str, str, str, Draw]]:
    timed = any(subject["latency"] for subject in report["subjects"])
    title = "Quality, latency and size" if timed else "Quality and size"
    yield "tradeoff", "main", title, _reading(report, timed), lambda w: tradeoff(report, w)
    yield (
        "latency-by-length",
        "speed",
        "Latency against length",
        "Median of one request, with its 95 % interval; both axes logarithmic.",
        lambda w: lengths(report, w),
    )
    yield (
        "latency-distribution",
        "speed",
        "Latency distribution",
        f"How often a request took how long: {cell_words(headline_cell(report['subjects']))}. The upright line is "
        "the median, the thick mark on it its 95 % interval.",
        lambda w: distribution(report, w),
    )
    yield (
        "throughput",
        "speed",
        "Throughput against batch",
        "Texts per second, one request after another; the largest mark is the best batch. Both axes logarithmic.",
        lambda w: throughput(report, w),
    )
    yield "size", "space", "Size by part", "What lies on disk.", lambda w: size_parts(report, w)
    yield (
        "memory-bill",
        "space",
        "Memory bill",
        "Peak proportional set size (PSS), by what causes it.",
        lambda w: memory_bill(report, w),
    )
    yield (
        "memory-timeline",
        "space",
        "Memory over time",
        "Resident memory from the start of each process, its waits left out; the dot is the peak. Pages shared with "
        "others count in full here.",
        lambda w: memory_timeline(report, w),
    )
    yield "slices", "quality", "Quality by slice", SLICES, lambda w: slices(report, w)
    for step, history in report["curves"].items():
        draw = _curve(step, history)
        yield f"training-{re.sub(r'[^A-Za-z0-9_.-]+', '-', step)}", "training", step, "", draw  # fmt: skip


def _curve(step: str, history: list[dict[str, Any]]) -> Draw:
    return lambda width: curves(history, step, width)


def _reading(report: Report, timed: bool) -> str:
    scores = [main_quality(subject) for subject in report["subjects"]]
    bars = ", bars are 95 % intervals" if any(interval_of(score) for score in scores) else ""
    return (
        f"Up is better, left is {'faster' if timed else 'smaller'}; the area of a dot is the size on disk{bars}. "
        "The dashed line joins what nothing beats. Grey: another model is at least as good in both."
    )
