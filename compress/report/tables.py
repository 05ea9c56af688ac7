"""The main table of a report, once, for the terminal, Markdown and HTML; and what every other table is made with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from compress.report import numbers
from compress.report.numbers import BLANK, DASH, interval_of, value_of
from compress.report.subjects import best_rate, headline_cell, latency_at, main_quality

Subject = Mapping[str, Any]
Report = Mapping[str, Any]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Cell:
    """What is shown, a smaller line under it (interval), the number to sort by, and a word such as FASTER."""

    text: str = DASH
    note: str = ""
    order: float | str | None = None
    mark: str = ""


@dataclass(frozen=True)
class Column:
    """A column; `help` says what it is and how it was measured."""

    name: str
    title: str
    help: str
    numeric: bool = True


@dataclass(frozen=True)
class Row:
    """One subject, or one part of it."""

    subject: str
    reference: bool
    ok: bool
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Table:
    """Columns and rows. Columns in which no row has anything are left out; `blanks` says why, where that is known."""

    columns: list[Column]
    rows: list[Row]
    blanks: list[str] = field(default_factory=list)


Makers = list[tuple[Column, Callable[[Item], Cell]]]


def assemble(
    makers: Makers[Item], items: Iterable[tuple[Subject, Item]], keep: tuple[str, ...] = ("subject",)
) -> Table:
    """A row for each (subject, item), a cell for each maker; empty columns are left out, except those to `keep`."""
    rows = [
        Row(s["name"], bool(s.get("reference")), s["status"] == "ok", {c.name: make(item) for c, make in makers})
        for s, item in items
    ]
    blanks, filled = [], []
    for column, _ in makers:
        cells = [row.cells[column.name] for row in rows]
        if column.name in keep or any(cell.text != DASH for cell in cells):
            filled.append(column)
        elif reasons := list(dict.fromkeys(cell.note for cell in cells if cell.note.startswith(BLANK))):
            blanks.append(f"{column.title} {reasons[0]}{' (and other reasons)' if len(reasons) > 1 else ''}")
    return Table(filled, rows, blanks)


def main_table(report: Report) -> Table:
    """One row a subject: quality, speed, size, throughput, memory, each with interval and ratio to the reference."""
    subjects: list[dict[str, Any]] = report["subjects"]
    reference = next((s for s in subjects if s["reference"]), None)
    makers = _columns(subjects, headline_cell(subjects), reference)
    items: list[tuple[Subject, Subject]] = [(subject, subject) for subject in subjects]
    return assemble(makers, items)


def cell_words(cell: Mapping[str, Any] | None) -> str:
    """`batch 1, the corpus's own lengths`."""
    if cell is None:
        return ""
    lengths = "the corpus's own lengths" if cell.get("mix") == "corpus" else f"{cell.get('length')} tokens"
    return f"batch {cell.get('batch')}, {lengths}"


def _columns(
    subjects: list[dict[str, Any]], cell: Mapping[str, Any] | None, reference: Subject | None
) -> Makers[Subject]:
    measured = next((s["quality"] for s in subjects if s["quality"]), None)
    metric = measured["metric"].replace("_", " ") if measured else "quality"
    split = f" on {measured['split']}" if measured and measured.get("split") else ""
    at = cell_words(cell)
    return [
        (Column("subject", "model", "What was measured, in which engine and number format", False), name_cell),
        (Column("quality", f"{metric}{split}", "Task metric, with the 95 % interval over examples"), _quality),
        (Column("retained", "kept", f"Share of the reference's {metric}"), _retained),
        (Column("latency", "p50", f"Median time of one request: {at}"), lambda s: latency_cell(s, cell, "p50")),
        (Column("faster", "faster", "Time of the reference over time of this model, round by round"),
         lambda s: ratio_cell(latency_at(s, cell), s)),
        (Column("size", "size", "On disk, tokenizer included"), _size),
        (Column("smaller", "smaller", "Size of the reference over size of this model"), _smaller),
        (Column("throughput", "throughput", "Texts per second at the best batch size measured"), _throughput),
        (Column("more", "more", "Texts per second over those of the reference, each at its best batch"),
         lambda s: ratio_cell(s.get("throughput"), s)),
        (Column("memory", "memory", "Peak of its own: without interpreter and imports"), _memory),
        (Column("less", "less", "Memory of the reference over memory of this model, both of their own"),
         lambda s: _less(s, reference)),
        (Column("p90", "p90", f"Nine of ten requests are faster: {at}"), lambda s: latency_cell(s, cell, "p90")),
        (Column("parameters", "weights", "Number of the model's parameters"), _parameters),
    ]  # fmt: skip


def name_cell(subject: Subject) -> Cell:
    """A subject by name, its shape and engine below; a failed one with its error."""
    if subject["status"] != "ok":
        return Cell(subject["name"], f"{subject['status']}: {subject['error'] or 'no reason given'}", subject["name"])
    shape = subject.get("architecture") or {}
    shown = f"{shape['layers']}×{shape['width']}" if shape.get("layers") and shape.get("width") else ""
    note = " · ".join(part for part in (shown, subject["engine"], subject["dtype"]) if part)
    return Cell(subject["name"], f"{note} · reference" if subject["reference"] else note, subject["name"])


def measure_cell(
    measure: Mapping[str, Any] | None, render: Callable[[numbers.Measure], tuple[str, str]] = numbers.plain
) -> Cell:
    """A measure as it is rendered, its interval below, or why there is no value."""
    return Cell(*numbers.maybe(measure, render), value_of(measure))


def ratio_cell(entry: Mapping[str, Any] | None, subject: Subject) -> Cell:
    """The `ratio` of an entry to the reference: times, interval, and the verdict as a word."""
    ratio = entry.get("ratio") if entry else None
    if subject["reference"] or ratio is None or value_of(ratio) is None:
        why = ratio.get("why") if ratio and not subject["reference"] else None
        return Cell(note=f"{BLANK}: {why}" if why else "", order=1.0 if subject["reference"] and entry else None)
    text, spread = numbers.times(value_of(ratio), interval_of(ratio))
    return Cell(text, spread, value_of(ratio), str(ratio.get("verdict") or ""))


def latency_cell(subject: Subject, cell: Mapping[str, Any] | None, which: str) -> Cell:
    """A percentile of one cell of latencies."""
    entry = latency_at(subject, cell)
    return measure_cell(entry.get(which) if entry else None, numbers.milliseconds)


def _quality(subject: Subject) -> Cell:
    measured = subject["quality"]
    if measured is None:
        return Cell()
    return measure_cell(main_quality(subject), lambda m: numbers.quality(m, measured["metric"]))


def _retained(subject: Subject) -> Cell:
    measure = subject["quality"].get("retained") if subject["quality"] else None
    if subject["reference"]:
        return Cell(order=1.0)
    return measure_cell(measure, numbers.percent)


def _parameters(subject: Subject) -> Cell:
    value = value_of(subject["parameters"])
    return Cell(numbers.count(value), order=value)


def _size(subject: Subject) -> Cell:
    return measure_cell(subject["size"].get("total"), numbers.size)


def _smaller(subject: Subject) -> Cell:
    ratio = subject["size_ratio"]
    if subject["reference"] or ratio is None:
        return Cell(order=1.0 if subject["reference"] else None)
    return Cell(numbers.times(ratio)[0], order=ratio)


def _throughput(subject: Subject) -> Cell:
    rate, batch = best_rate(subject)
    text, note = numbers.maybe(rate, numbers.per_second)
    shown = [note, f"batch {batch}"] if batch and text != DASH else [note]
    return Cell(text, "\n".join(part for part in shown if part), value_of(rate))


def _memory(subject: Subject) -> Cell:
    own = measure_cell(subject["memory"].get("own"), numbers.size)
    peak = value_of(subject["memory"].get("peak"))
    shown = [own.note, f"of {numbers.bytes_text(peak)}" if peak is not None else ""]
    return Cell(own.text, "\n".join(part for part in shown if part), own.order)


def _less(subject: Subject, reference: Subject | None) -> Cell:
    own = value_of(subject["memory"].get("own"))
    other = value_of(reference["memory"].get("own")) if reference else None
    if subject["reference"] or not own or other is None or own < 0:
        return Cell(order=1.0 if subject["reference"] else None)
    return Cell(numbers.times(other / own)[0], order=other / own)
