"""report.md: what fits a pull request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compress.report.numbers import DASH, duration
from compress.report.tables import Cell, Table, main_table

LEFT_OUT = ("parameters", "p90", "load")


def markdown(report: Mapping[str, Any]) -> str:
    """The verdict, the main table, the steps, and the machine in one line."""
    lines = [f"**{_safe(report['verdict'])}**", "", *_table(main_table(report)), ""]
    failed = [s for s in report["subjects"] if s["status"] != "ok"]
    lines += [f"- {_safe(s['name'])} {s['status']}: {_safe(str(s['error'] or 'no reason given'))}" for s in failed]
    lines += ["<details><summary>steps and machine</summary>", "", *_steps(report["steps"]), ""]
    lines += [machine_line(report["environment"]), "", "</details>"]
    return "\n".join(lines) + "\n"


def machine_line(environment: Mapping[str, Any]) -> str:
    """CPU, cores, vector extensions and the versions that decide speed, in one line."""
    packages = environment.get("packages") or {}
    shown = [f"{name} {packages[name]}" for name in ("torch", "transformers", "onnxruntime") if name in packages]
    flags = ", ".join(flag for flag in environment.get("cpu_flags") or [] if "vnni" in flag or "amx" in flag)
    cores = f"{environment['cores']} cores" if environment.get("cores") else ""
    gpu = ", ".join(environment.get("gpu") or [])
    parts = [environment.get("cpu") or "", cores, flags, gpu, *shown, f"Python {environment.get('python', '?')}"]
    return " · ".join(str(part) for part in parts if part)


def _table(table: Table) -> list[str]:
    if not table.rows:
        return ["No model was measured."]
    columns = [column for column in table.columns if column.name not in LEFT_OUT]
    head = "| " + " | ".join(column.title for column in columns) + " |"
    rule = "|" + "|".join("---:" if column.numeric else "---" for column in columns) + "|"
    rows = ["| " + " | ".join(_cell(row.cells[column.name]) for column in columns) + " |" for row in table.rows]
    return [head, rule, *rows]


def _cell(cell: Cell) -> str:
    if not cell.note:
        return _safe(cell.text)
    return f"{_safe(cell.text)} <sub>{_safe(cell.note)}</sub>"


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
