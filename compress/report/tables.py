"""The main table of a report, once, for the terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from compress.report import numbers
from compress.report.numbers import DASH, interval_of, value_of
from compress.report.subjects import headline_cell, latency_at, main_quality

Subject = Mapping[str, Any]
Report = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """What is shown, a smaller line under it (interval, verdict), and the number to sort by."""

    text: str = DASH
    note: str = ""
    order: float | str | None = None


@dataclass(frozen=True)
class Column:
    """A column; `help` says what it is and how it was measured."""

    name: str
    title: str
    help: str
    numeric: bool = True


@dataclass(frozen=True)
class Row:
    """One subject."""

    subject: str
    reference: bool
    ok: bool
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Table:
    """Columns and rows; columns in which no row has anything are left out."""

    columns: list[Column]
    rows: list[Row]


def main_table(report: Report) -> Table:
    """One row a subject: quality, size, speed, memory, each with interval and ratio to the reference."""
    subjects: list[dict[str, Any]] = report["subjects"]
    cell = headline_cell(subjects)
    makers = _columns(subjects, cell)
    rows = [
        Row(s["name"], s["reference"], s["status"] == "ok", {c.name: make(s) for c, make in makers}) for s in subjects
    ]
    filled = [c for c, _ in makers if c.name == "subject" or any(row.cells[c.name].text != DASH for row in rows)]
    return Table(filled, rows)


def cell_words(cell: Mapping[str, Any] | None) -> str:
    """`batch 1, the corpus's own lengths`."""
    if cell is None:
        return ""
    lengths = "the corpus's own lengths" if cell.get("mix") == "corpus" else f"{cell.get('length')} tokens"
    return f"batch {cell.get('batch')}, {lengths}"


def _columns(
    subjects: list[dict[str, Any]], cell: Mapping[str, Any] | None
) -> list[tuple[Column, Callable[[Subject], Cell]]]:
    measured = next((s["quality"] for s in subjects if s["quality"]), None)
    metric = measured["metric"].replace("_", " ") if measured else "quality"
    split = f" on {measured['split']}" if measured and measured.get("split") else ""
    at = cell_words(cell)
    return [
        (Column("subject", "model", "What was measured, in which engine and number format", False), _name),
        (Column("quality", f"{metric}{split}", "Task metric, with the 95 % interval over examples"), _quality),
        (Column("retained", "kept", f"Share of the reference's {metric}"), _retained),
        (Column("latency", "p50", f"Median time of one request: {at}"), lambda s: _latency(s, cell, "p50")),
        (Column("faster", "faster", "Median of the reference over median of this model"), lambda s: _faster(s, cell)),
        (Column("size", "size", "On disk, tokenizer included"), _size),
        (Column("smaller", "smaller", "Size of the reference over size of this model"), _smaller),
        (Column("throughput", "throughput", "Texts per second at the best batch size measured"), _throughput),
        (Column("memory", "memory", "Peak of its own: without interpreter and imports"), _memory),
        (Column("p90", "p90", f"Nine of ten requests are faster: {at}"), lambda s: _latency(s, cell, "p90")),
        (Column("load", "load", "From folder to ready, without imports"), _load),
        (Column("parameters", "parameters", "Weights of the model"), _parameters),
    ]


def _name(subject: Subject) -> Cell:
    if subject["status"] != "ok":
        return Cell(subject["name"], f"{subject['status']}: {subject['error'] or 'no reason given'}", subject["name"])
    shape = subject.get("architecture") or {}
    shown = f"{shape['layers']}×{shape['width']}" if shape.get("layers") and shape.get("width") else ""
    note = " · ".join(part for part in (shown, subject["engine"], subject["dtype"]) if part)
    return Cell(subject["name"], f"{note} · reference" if subject["reference"] else note, subject["name"])


def _quality(subject: Subject) -> Cell:
    measure = main_quality(subject)
    if subject["quality"] is None:
        return Cell()
    return Cell(*numbers.quality(measure, subject["quality"]["metric"]), value_of(measure))


def _retained(subject: Subject) -> Cell:
    measure = subject["quality"]["retained"] if subject["quality"] else None
    if subject["reference"] or value_of(measure) is None:
        return Cell(order=1.0 if subject["reference"] else None)
    return Cell(*numbers.percent(measure), value_of(measure))


def _parameters(subject: Subject) -> Cell:
    value = value_of(subject["parameters"])
    return Cell(numbers.count(value), order=value)


def _size(subject: Subject) -> Cell:
    value = value_of(subject["size"].get("total"))
    return Cell(numbers.bytes_text(value), order=value)


def _smaller(subject: Subject) -> Cell:
    ratio = subject["size_ratio"]
    if subject["reference"] or ratio is None:
        return Cell(order=1.0 if subject["reference"] else None)
    return Cell(numbers.times(ratio)[0], order=ratio)


def _latency(subject: Subject, cell: Mapping[str, Any] | None, which: str) -> Cell:
    entry = latency_at(subject, cell)
    measure = entry.get(which) if entry else None
    return Cell(*numbers.maybe(measure, numbers.milliseconds), value_of(measure))


def _faster(subject: Subject, cell: Mapping[str, Any] | None) -> Cell:
    entry = latency_at(subject, cell)
    ratio = entry.get("ratio") if entry else None
    if subject["reference"] or value_of(ratio) is None or ratio is None:
        return Cell(order=1.0 if subject["reference"] else None)
    text, spread = numbers.times(value_of(ratio), interval_of(ratio))
    word = str(ratio.get("verdict") or "").lower()
    return Cell(text, "\n".join(part for part in (spread, word) if part), value_of(ratio))


def _throughput(subject: Subject) -> Cell:
    rates = [(value_of(entry.get("throughput")), entry) for entry in subject["latency"]]
    corpus = [(rate, e) for rate, e in rates if rate is not None and e.get("mix") == "corpus"]
    best = max(corpus or [(r, e) for r, e in rates if r is not None], key=lambda pair: pair[0], default=None)
    if best is None:
        return Cell()
    text, _ = numbers.per_second(best[1]["throughput"])
    return Cell(text, f"batch {best[1].get('batch')}", best[0])


def _memory(subject: Subject) -> Cell:
    measure = subject["memory"].get("own")
    value = value_of(measure)
    peak = value_of(subject["memory"].get("peak"))
    return Cell(numbers.bytes_text(value), f"of {numbers.bytes_text(peak)}" if peak is not None else "", value)


def _load(subject: Subject) -> Cell:
    measure = subject["load"].get("load")
    return Cell(*numbers.maybe(measure, numbers.seconds), value_of(measure))
