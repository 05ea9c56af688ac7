"""report.html: one file that works offline, in dark mode, on a phone, in print and by keyboard."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup, escape

from compress.report import details, numbers
from compress.report.figures.gallery import Picture, gallery
from compress.report.figures.theme import inline
from compress.report.markdown import machine_line
from compress.report.subjects import latency_at, main_quality
from compress.report.tables import Table, main_table
from compress.report.verdict import gate_words

# Section of the page: its heading, and (title, maker, whether it is folded away) of its tables.
Tables = tuple[tuple[str, Callable[[Mapping[str, Any]], Table], bool], ...]
SECTIONS: dict[str, tuple[str, Tables]] = {
    "main": ("", ()),
    "speed": (
        "Speed",
        (
            ("Until the first answer", details.start_table, False),
            ("Work for one text", details.work_table, False),
            ("Every cell that was timed", details.grid_table, True),
            ("The search for a batch", details.sweep_table, True),
        ),
    ),
    "space": ("Disk and memory", (("Memory, in numbers", details.memory_table, False),)),
    "quality": (
        "Quality",
        (("Every metric", details.quality_table, False), ("Every slice", details.slices_table, True)),
    ),
    "training": ("Training", ()),
}  # fmt: skip


@dataclass(frozen=True)
class Tile:
    """One number in large type."""

    value: str
    what: str
    note: str


@dataclass(frozen=True)
class Shown:
    """A table below the main one."""

    name: str
    title: str
    table: Table
    folded: bool


@dataclass(frozen=True)
class Section:
    """A section of the page that has something to show."""

    name: str
    title: str
    pictures: list[Picture]
    tables: list[Shown]


def html(report: Mapping[str, Any], pictures: list[Picture] | None = None) -> str:
    """The whole page. pictures: those of the report, where they are drawn already."""
    loader = jinja2.PackageLoader("compress.report", "templates")
    pages = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    pages.filters["duration"] = numbers.duration
    pages.filters["bytes"] = numbers.bytes_text
    pages.filters["pretty"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    pages.filters["drawn"] = _drawn
    pages.filters["code"] = _code
    shown = sections(report, gallery(report) if pictures is None else pictures)
    return pages.get_template("report.html.j2").render(
        report=report,
        verdict=_split(report["verdict"], report["headline"]),
        tiles=tiles(report),
        table=main_table(report),
        sections=shown,
        why=[(name, found) for name, found in (report.get("why") or {}).items() if found],
        gate=gate_words(report.get("gate")),
        limits=details.gate_table(report),
        flips=flips(report),
        machine=machine_line(report["environment"]),
        rows=_corpus(report.get("corpus")),
    )


def sections(report: Mapping[str, Any], pictures: list[Picture]) -> list[Section]:
    """The sections that have a picture, or a table with more than names in it."""
    found = []
    for name, (title, makers) in SECTIONS.items():
        drawn = [picture for picture in pictures if picture.section == name]
        tables = [
            Shown(f"{name}-{place}", heading, table, folded)
            for place, (heading, make, folded) in enumerate(makers)
            if (table := make(report)).rows and (len(table.columns) > 1 or table.blanks)
        ]
        if drawn or tables:
            found.append(Section(name, title or drawn[0].title, drawn, tables))
    return found


def flips(report: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """(subject, examples whose answer turned right or wrong against the reference), lost ones first."""
    found = [(s["name"], s["quality"].get("flips") or []) for s in report["subjects"] if s["quality"]]
    return [(name, sorted(rows, key=lambda row: row["kind"] != "lost")) for name, rows in found if rows]


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


def _drawn(picture: Picture) -> str:
    """The SVG of a picture, for wide and for narrow screens."""
    label = f"{picture.title}. {picture.caption} The numbers are in the tables of this page and in report.csv."
    return inline(picture.wide, label, "wide") + inline(picture.narrow, label, "narrow")


def _code(text: str) -> Markup:
    """Text with what stands between backticks set as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


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
