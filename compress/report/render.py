"""Rendering: one collected report becomes its files, each written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.core.artifact import MANIFEST, write_json
from compress.core.errors import InputError
from compress.report.collect import collect
from compress.report.figures.theme import WIDE, on_white, png, svg
from compress.report.figures.tradeoff import tradeoff
from compress.report.html import html
from compress.report.longform import long_csv
from compress.report.markdown import markdown


def make_report(run_dir: Path | str, out: Path | str | None = None) -> dict[str, Path]:
    """Collect a run and write report.json, .md, .csv, .html and the main picture as .svg and .png.

    out: the folder for them; by default `run_dir`, or its parent when `run_dir` is itself an artifact (whose files
    are fixed by its manifest). Returns format to path. Raises InputError when there is nothing to report.
    """
    return write_report(collect(Path(run_dir)), Path(run_dir), None if out is None else Path(out))


def write_report(report: Mapping[str, Any], run_dir: Path, out: Path | None = None) -> dict[str, Path]:
    """Write the files of a collected report. Returns format to path."""
    folder = out or (run_dir.parent if (run_dir / MANIFEST).is_file() else run_dir)
    texts = {"md": markdown(report), "csv": long_csv(report), "html": html(report)}
    contents = {name: text.encode() for name, text in texts.items()}
    picture = tradeoff(report, WIDE)
    if picture is not None:
        contents |= {"svg": svg(on_white(picture)).encode(), "png": png(picture)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = {"json": folder / "report.json"}
        beside = folder / ".report.json"
        write_json(beside, report)
        os.replace(beside, paths["json"])
        for name, content in contents.items():
            paths[name] = folder / f"report.{name}"
            _write(paths[name], content)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another folder with --out") from error
    return paths


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}")
    beside.write_bytes(content)
    os.replace(beside, path)
