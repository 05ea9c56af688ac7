"""report.html: one file that works offline, in dark mode, on a phone, in print and by keyboard."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2

from compress.report import numbers
from compress.report.figures.curves import curves
from compress.report.figures.lengths import lengths
from compress.report.figures.parts import memory_bill, size_parts
from compress.report.figures.theme import NARROW, WIDE, inline, svg
from compress.report.figures.tradeoff import tradeoff
from compress.report.markdown import machine_line
from compress.report.subjects import latency_at, main_quality
from compress.report.tables import main_table

Draw = Callable[[int], dict[str, Any] | None]


@dataclass(frozen=True)
class Figure:
    """A picture drawn for wide and for narrow screens, its title, and a sentence that says how to read it."""

    title: str
    caption: str
    wide: str
    narrow: str


@dataclass(frozen=True)
class Tile:
    """One number in large type."""

    value: str
    what: str
    note: str


def html(report: Mapping[str, Any]) -> str:
    """The whole page."""
    loader = jinja2.PackageLoader("compress.report", "templates")
    pages = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    pages.filters["duration"] = numbers.duration
    pages.filters["bytes"] = numbers.bytes_text
    pages.filters["pretty"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return pages.get_template("report.html.j2").render(
        report=report,
        verdict=_split(report["verdict"], report["headline"]),
        tiles=tiles(report),
        table=main_table(report),
        figures=figures(report),
        machine=machine_line(report["environment"]),
        rows=_corpus(report.get("corpus")),
    )


def tiles(report: Mapping[str, Any]) -> list[Tile]:
    """The verdict as large numbers; empty without a student and a reference to compare."""
    top = report["headline"]
    if top is None:
        return []
    subject = next(s for s in report["subjects"] if s["name"] == top["subject"])
    reference = next(s for s in report["subjects"] if s["name"] == top["reference"])
    change = _from_to(reference, subject, lambda s: numbers.quality(main_quality(s), top["metric"])[0])
    found = [Tile(numbers.percent(top["retained"])[0], f"of the {top['reference']}'s {top['metric']}", change)]
    if numbers.value_of(top["faster"]):
        text, spread = numbers.times(numbers.value_of(top["faster"]), numbers.interval_of(top["faster"]))
        word = str(top["faster"].get("verdict") or "FASTER").lower()
        if word == "cannot tell":
            text, word = "?", "faster or slower: cannot tell"
        change = _from_to(reference, subject, lambda s: _median(s, top["cell"]))
        found.append(Tile(text, word if word != "slower" else "of its speed", f"{change} {spread}".strip()))
    if top["smaller"]:
        change = _from_to(reference, subject, lambda s: numbers.size(s["size"].get("total"))[0])
        found.append(Tile(numbers.times(top["smaller"])[0], "smaller", change))
    if numbers.value_of(subject["memory"].get("own")) is not None:
        change = _from_to(reference, subject, lambda s: numbers.size(s["memory"].get("own"))[0])
        found.append(Tile(numbers.size(subject["memory"]["own"])[0], "memory of its own", change))
    return [tile for tile in found if tile.value != numbers.DASH]


def _median(subject: Mapping[str, Any], cell: Mapping[str, Any] | None) -> str:
    entry = latency_at(subject, cell)
    return numbers.milliseconds(entry.get("p50"))[0] if entry else numbers.DASH


def _from_to(old: Mapping[str, Any], new: Mapping[str, Any], text: Callable[[Mapping[str, Any]], str]) -> str:
    return f"{text(old)} → {text(new)}"


def figures(report: Mapping[str, Any]) -> dict[str, list[Figure]]:
    """Every picture that has data, by section of the page."""
    title = "Quality, latency and size" if _timed(report) else "Quality and size"
    main = [_figure(title, _reading(report), lambda w: tradeoff(report, w))]
    speed = [
        _figure("Latency against length", "Median of one batch; both axes logarithmic.", lambda w: lengths(report, w))
    ]
    space = [
        _figure("Size by part", "What lies on disk.", lambda w: size_parts(report, w)),
        _figure(
            "Memory bill", "Peak proportional set size (PSS), by what causes it.", lambda w: memory_bill(report, w)
        ),
    ]
    training = [
        _figure(name, "", lambda w, name=name, history=history: curves(history, name, w))  # type: ignore[misc]
        for name, history in report["curves"].items()
    ]
    sections = {"main": main, "speed": speed, "space": space, "training": training}
    return {section: [figure for figure in found if figure] for section, found in sections.items()}


def _reading(report: Mapping[str, Any]) -> str:
    scores = [main_quality(subject) for subject in report["subjects"]]
    bars = ", bars are 95 % intervals" if any(numbers.interval_of(score) for score in scores) else ""
    cost = "faster" if _timed(report) else "smaller"
    return (
        f"Up is better, left is {cost}; the area of a dot is the size on disk{bars}. "
        "Grey: another model is at least as good in both."
    )


def _timed(report: Mapping[str, Any]) -> bool:
    return any(subject["latency"] for subject in report["subjects"])


def _figure(title: str, caption: str, draw: Draw) -> Figure | None:
    wide, narrow = draw(WIDE), draw(NARROW)
    if wide is None or narrow is None:
        return None
    label = f"{title}. {caption} The numbers are in the tables of this page and in report.csv."
    return Figure(title, caption, inline(svg(wide), label, "wide"), inline(svg(narrow), label, "narrow"))


def _split(verdict: str, top: Mapping[str, Any] | None) -> tuple[str, str]:
    """The verdict as its subject (set in colour) and the rest."""
    text = verdict if top is None else verdict.removeprefix(f"{top['subject']}: ")
    unbroken = re.sub(r"\[[^\]]*\]", lambda found: found[0].replace(" ", "\u00a0"), text)
    return "" if top is None else top["subject"], unbroken.replace(" %", "\u00a0%")


def _corpus(corpus: Any) -> str:
    """What is known of the corpus, in words."""
    if not isinstance(corpus, dict) or not corpus.get("rows"):
        return ""
    return f"{corpus['rows']} rows of the {corpus.get('split', 'corpus')} split"
