"""report.md: what fits a pull request; the rest of it folded away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from compress.report import details
from compress.report.numbers import DASH, duration, p_value
from compress.report.tables import Cell, Row, Table, main_table
from compress.report.verdict import gate_words

LEFT_OUT = ("parameters", "p90", "less")
WORST = 5  # slices of the headline's model


def markdown(report: Mapping[str, Any]) -> str:
    """The verdict, the gate, the main table and the worst slices; folded: findings, details, steps, machine."""
    lines = [f"**{_safe(report['verdict'])}**", "", *_gate(report)]
    lines += [*_table(main_table(report), LEFT_OUT, "No model was measured."), ""]
    failed = [s for s in report["subjects"] if s["status"] != "ok"]
    lines += [f"- {_safe(s['name'])} {s['status']}: {_safe(str(s['error'] or 'no reason given'))}" for s in failed]
    lines += _worst(report)
    for title, content in (
        ("why not faster or smaller", _why(report)),
        ("quality in detail", _table(details.quality_table(report))),
        ("until the first answer", _table(details.start_table(report))),
        ("work for one text", _table(details.work_table(report))),
        ("memory", _table(details.memory_table(report))),
        ("every cell that was timed", _table(details.grid_table(report))),
        ("steps and machine", [*_steps(report["steps"]), "", machine_line(report["environment"])]),
    ):
        lines += _folded(title, content)
    return "\n".join(lines) + "\n"


def machine_line(environment: Mapping[str, Any]) -> str:
    """CPU, cores, vector extensions and the versions that decide speed, in one line."""
    packages = environment.get("packages") or {}
    shown = [f"{name} {packages[name]}" for name in ("torch", "transformers", "onnxruntime") if name in packages]
    flags = ", ".join(flag for flag in environment.get("cpu_flags") or [] if "vnni" in flag or "amx" in flag)
    cores = f"{environment['cores']} cores" if environment.get("cores") else ""
    gpu = ", ".join(map(str, environment.get("gpu") or []))
    bound = ", ".join(map(str, environment.get("bound_to") or []))
    threads = f"threads bound to CPUs {bound}" if bound else ""
    parts = [
        environment.get("cpu") or "",
        cores,
        threads,
        flags,
        gpu,
        *shown,
        f"Python {environment.get('python', '?')}",
    ]
    return " · ".join(str(part) for part in parts if part)


def _gate(report: Mapping[str, Any]) -> list[str]:
    """Whether the gate was passed, and the limits that were not met."""
    words = gate_words(report.get("gate"))
    if not words:
        return []
    table = details.gate_table(report)
    unmet = Table(table.columns, [row for row in table.rows if row.cells["state"].mark != "MET"])
    return [f"**{_safe(words.capitalize())}**", "", *_table(unmet), *([""] if unmet.rows else [])]


def _worst(report: Mapping[str, Any]) -> list[str]:
    """The slices on which the headline's model lost most, and the paired test over all rows."""
    top = report.get("headline")
    table = details.slices_table(report)
    rows = [row for row in table.rows if top and row.subject == top["subject"]]
    rows = sorted(rows, key=_by_drop)[:WORST]
    if not rows or not top:
        return []
    subject = next(s for s in report["subjects"] if s["name"] == top["subject"])
    paired = subject["quality"].get("paired") or {}
    counts = f"{paired['lost']} rows lost, {paired['gained']} gained" if "lost" in paired else ""
    tested = f"{p_value(paired['p'])} ({paired.get('test')})" if paired.get("p") is not None else ""
    said = ", ".join(part for part in (counts, tested) if part)
    return [f"Where {_safe(top['subject'])} lost most{f': {said}' if said else ''}", "",
            *_table(Table(table.columns, rows), ("subject",)), ""]  # fmt: skip


def _by_drop(row: Row) -> float:
    order = row.cells["drop"].order if "drop" in row.cells else None
    return -order if isinstance(order, (int, float)) else 0.0


def _why(report: Mapping[str, Any]) -> list[str]:
    return [
        f"- {_safe(name)}: {_safe(found['evidence'])} **{_safe(found['remedy'])}**"
        for name, findings in (report.get("why") or {}).items() for found in findings
    ]  # fmt: skip


def _folded(title: str, content: list[str]) -> list[str]:
    if not any(content):
        return []
    return [f"<details><summary>{title}</summary>", "", *content, "", "</details>", ""]


def _table(table: Table, left_out: Iterable[str] = (), empty: str = "") -> list[str]:
    columns = [column for column in table.columns if column.name not in left_out]
    if not table.rows or len(columns) < 2:
        return [empty] if empty else []
    head = "| " + " | ".join(column.title for column in columns) + " |"
    rule = "|" + "|".join("---:" if column.numeric else "---" for column in columns) + "|"
    rows = ["| " + " | ".join(_cell(row.cells[column.name]) for column in columns) + " |" for row in table.rows]
    return [head, rule, *rows, *(f"\n{_safe(words)}" for words in table.blanks)]


def _cell(cell: Cell) -> str:
    note = f"<sub>{_safe(cell.note)}</sub>" if cell.note else ""
    return " ".join(part for part in (_safe(cell.text), note, cell.mark) if part)


def _steps(steps: list[dict[str, Any]]) -> list[str]:
    if not steps:
        return []
    rows = [
        f"| {step['name']} | {step['verb']} | {' '.join(step['inputs']) or DASH} | {duration(step['seconds'])} "
        f"| `{step['key'][:12]}`{' (outdated)' if step['outdated'] else ''} |"
        for step in steps
    ]
    return ["| step | verb | reads | took | key |", "|---|---|---|---:|---|", *rows]


def _safe(text: str) -> str:
    """Text that cannot break a table or be read as HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
