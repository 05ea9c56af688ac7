"""A small finished run in a folder of its own, ways to spoil it, and the command line in this process."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
import typer

from compress.cli.app import app

Change = Callable[[Path], object]
_HELD: list[IO[str]] = []

RECIPE = """\
name: base
seed: 5
steps:
  corpus:
    prepare:
      source: {jsonl: {path: data}}
      task: {classify: {text: text, label: label}}
  teacher:
    teach:
      corpus: $corpus
      model:
        scratch: {layers: 2, width: 32, heads: 2, ffn: 64, dropout: 0.0, tokenizer: {wordpiece: {size: 200}}}
      epochs: 12
      batch_size: 16
      learning_rate: 4e-3
      max_length: 16
      precision: fp32
      device: cpu
  student:
    distill:
      corpus: $corpus
      teacher: $teacher
      student: {distilbert: {layers: 1}}
      losses: [logits_kl]
      epochs: 1
      batch_size: 16
      precision: fp32
      device: cpu
  int8:
    quantize:
      model: $student
      corpus: $corpus
      method: {onnx: {scheme: dynamic}}
"""
RUN = "run recipe.yaml --quiet"
SUBJECTS = ("film", "book", "play", "song", "meal", "trip", "room", "talk")
PLACES = (
    "here",
    "there",
    "upstairs",
    "outside",
    "yesterday",
    "at noon",
    "in spring",
    "by night",
    "again",
    "at last",
    "today",
)
WORDS = {"good": ("fine", "lovely", "bright", "warm"), "bad": ("dull", "awful", "bleak", "sour")}


def nothing(root: Path) -> None:
    """Spoil nothing: the arguments are wrong already."""


@dataclass(frozen=True)
class Case:
    """One wrong input. args: the command line. words: what the message must say, path and remedy among them."""

    name: str
    args: str
    words: tuple[str, ...]
    change: Change = nothing
    code: int = 2


@dataclass(frozen=True)
class Outcome:
    """What the command line did."""

    code: int
    out: str
    err: str


def compress(args: str) -> Outcome:
    """Run the command line here; whatever is not a clean exit comes through and fails the test."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            typer.main.get_command(app)(shlex.split(args), prog_name="compress")
        except SystemExit as leaving:
            code = int(leaving.code or 0)
    return Outcome(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder, so that paths in messages are those of the recipe."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def build(root: Path) -> None:
    """Data, recipe and the whole run, once for every case."""
    (root / "data").mkdir()
    for split, count in (("train", 160), ("dev", 32)):
        write_rows(root / "data" / f"{split}.jsonl", rows(count, shift=0 if split == "train" else 3))
    (root / "recipe.yaml").write_text(RECIPE)
    with inside(root):
        done = compress(RUN)
    assert done.code == 0, done.err
    shutil.rmtree(root / "runs" / "base" / ".work", ignore_errors=True)


def rows(count: int, shift: int = 0) -> list[dict[str, Any]]:
    """Rows that one word decides, so that a tiny teacher learns them in a second."""
    made = []
    for number in range(count):
        label = ("good", "bad")[number % 2]
        word = WORDS[label][(number // 2 + shift) % 4]
        subject, place = SUBJECTS[(number * 3 + shift) % 8], PLACES[(number // 3 + shift) % 11]
        made.append({"text": f"the {subject} {place} was {word}", "label": label, "score": number / 7})
    return made


def write_rows(path: Path, lines: list[dict[str, Any]]) -> None:
    """JSON Lines, NaN as Python writes it."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def hashes(root: Path) -> dict[str, str]:
    """Every file of the finished artifacts and of the data."""
    found = [path for top in ("runs", "data", "model") for path in (root / top).rglob("*") if path.is_file()]
    kept = [path for path in found if not {".work", ".lock", ".stillroom-cache"} & set(path.relative_to(root).parts)]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


# ---- ways to spoil -----------------------------------------------------------------------------------------------


def put(name: str, content: str | bytes) -> Change:
    """Write a file."""

    def change(root: Path) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def edit(old: str, new: str, name: str = "recipe.yaml") -> Change:
    """Replace a text that must be there."""

    def change(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text, f"{old!r} is not in {name}"
        (root / name).write_text(text.replace(old, new))

    return change


def data(lines: list[dict[str, Any]], split: str = "train") -> Change:
    """Other rows in a split."""
    return lambda root: write_rows(root / "data" / f"{split}.jsonl", lines)


def cell(number: int, column: str, value: Any, split: str = "train") -> Change:
    """One cell of a split."""

    def change(root: Path) -> None:
        path = root / "data" / f"{split}.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines[number][column] = value
        write_rows(path, lines)

    return change


def remove(name: str) -> Change:
    """Delete a file."""
    return lambda root: (root / name).unlink()


def flip(name: str) -> Change:
    """Turn one bit in the middle of a file."""

    def change(root: Path) -> None:
        content = bytearray((root / name).read_bytes())
        content[len(content) // 2] ^= 4
        (root / name).write_bytes(content)

    return change


def truncate(name: str, keep: float = 0.5) -> Change:
    """Cut a file short."""

    def change(root: Path) -> None:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: int(len(content) * keep)])

    return change


def outside_teacher(*changes: Change) -> Change:
    """Use a plain Hugging Face folder `model`, a copy of the teacher without its manifest, as the teacher."""

    def change(root: Path) -> None:
        shutil.copytree(root / "runs/base/teacher", root / "model", ignore=shutil.ignore_patterns("manifest.json"))
        edit("teacher: $teacher", "teacher: ./model")(root)
        for further in changes:
            further(root)

    return change


def config(**values: Any) -> Change:
    """Other values in model/config.json."""

    def change(root: Path) -> None:
        path = root / "model/config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def locked(name: str) -> Change:
    """Hold the lock of a run's folder, as another process would, for as long as the tests run."""

    def change(root: Path) -> None:
        fcntl = pytest.importorskip("fcntl")
        (root / name).mkdir()
        handle = (root / name / ".lock").open("w")
        _HELD.append(handle)
        fcntl.flock(handle, fcntl.LOCK_EX)

    return change


def both(*changes: Change) -> Change:
    """Several changes, one after the other."""

    def change(root: Path) -> None:
        for each in changes:
            each(root)

    return change
