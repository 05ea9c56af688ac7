"""Rendering: one collected report becomes its files, each written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.core.artifact import MANIFEST, write_json
from compress.core.errors import InputError
from compress.report.collect import collect
from compress.report.figures.gallery import gallery
from compress.report.figures.theme import png, stand_alone
from compress.report.html import html
from compress.report.longform import long_csv
from compress.report.markdown import markdown

FIGURES = "report.figures"  # with a dot: no step, and so no artifact of a run, can have this name


def make_report(run_dir: Path | str, out: Path | str | None = None) -> dict[str, Path]:
    """Collect a run and write report.json, .md, .csv, .html, the main picture as report.svg and .png, and every
    picture as report.figures/NAME.svg and .png.

    out: the folder for them; by default `run_dir`, or its parent when `run_dir` is itself an artifact (whose files
    are fixed by its manifest). Returns format to path. Raises InputError when there is nothing to report.
    """
    return write_report(collect(Path(run_dir)), Path(run_dir), None if out is None else Path(out))


def write_report(report: Mapping[str, Any], run_dir: Path, out: Path | None = None) -> dict[str, Path]:
    """Write the files of a collected report. Returns format to path."""
    folder = out or (run_dir.parent if (run_dir / MANIFEST).is_file() else run_dir)
    pictures = gallery(report)
    texts = {"md": markdown(report), "csv": long_csv(report), "html": html(report, pictures)}
    contents = {f"report.{name}": text.encode() for name, text in texts.items()}
    for picture in pictures:
        sheet = stand_alone(picture.wide)
        drawn = {"svg": sheet.encode(), "png": png(sheet)}
        contents |= {f"{FIGURES}/{picture.name}.{name}": content for name, content in drawn.items()}
        if picture.section == "main":
            contents |= {f"report.{name}": content for name, content in drawn.items()}
    try:
        (folder / FIGURES if pictures else folder).mkdir(parents=True, exist_ok=True)
        beside = folder / ".report.json"
        write_json(beside, report)
        os.replace(beside, folder / "report.json")
        for name, content in contents.items():
            _write(folder / name, content)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another folder with --out") from error
    paths = {Path(name).suffix[1:]: folder / name for name in ("report.json", *contents) if "/" not in name}
    return {**paths, "figures": folder / FIGURES} if pictures else paths


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}")
    beside.write_bytes(content)
    os.replace(beside, path)
