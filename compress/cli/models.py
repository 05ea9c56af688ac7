"""`predict` and `verify`: what an app does with a student. Neither imports torch unless the student's engine does."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.markup import escape

from compress.cli.frame import AsJson, Threads, add_verb, err, out, stdout_for_results, write_json
from compress.core.errors import InputError, StillroomError

BATCH = 64
FILE_HELP = (
    "JSON Lines with `text` (and `text_pair`), `tokens`, or `question` and `context`, or plain lines; - is standard "
    "input."
)
Texts = Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts to judge.", show_default=False)]


def predict(
    student: Annotated[str, typer.Argument(metavar="STUDENT", help="A student folder.", show_default=False)],
    text: Texts = None,
    file: Annotated[str | None, typer.Option("--file", help=FILE_HELP)] = None,
    engine: Annotated[str, typer.Option("--engine", help="auto, onnx or torch.")] = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Predict texts with a student. With --json, one JSON object a line."""
    if bool(text) == bool(file):
        raise InputError("predict: give either texts or --file (--file - reads standard input)")
    with stdout_for_results():
        from compress.runtime.student import Student

        loaded = Student.load(student, engine=engine, threads=threads)
    for batch in _batches(iter(text) if text else _read(str(file))):
        with stdout_for_results():
            predictions = loaded.predict(batch)
        for row, prediction in zip(batch, predictions, strict=True):
            _show(row, dataclasses.asdict(prediction), as_json)


def _show(row: Any, prediction: dict[str, Any], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"input": row, **prediction}, ensure_ascii=False) + "\n")
        return
    typer.echo(f"{_said(prediction)}\t{_one_line(row)}")  # Rich would turn the tabs into spaces


def _said(prediction: dict[str, Any]) -> str:
    """A prediction of any task on one line: label and probability, labels, value, tags, an answer, a vector, or the
    tokens for each blank."""
    if "scores" in prediction and "label" in prediction:
        return f"{prediction['label']}\t{prediction['score']:.4f}"
    for name in ("value", "similarity"):
        if name in prediction:
            return f"{prediction[name]:.4f}"
    if "scores" in prediction and isinstance(prediction["scores"], dict):
        return ", ".join(f"{label} {prediction['scores'][label]:.4f}" for label in prediction["labels"]) or "-"
    if "text" in prediction:
        return f"{_one_line(prediction['text'])}\t{prediction['score']:.4f}"
    if "vector" in prediction:
        return " ".join(f"{value:.4f}" for value in prediction["vector"])
    if "labels" in prediction:
        return " ".join(label or "-" for label in prediction["labels"])
    return " / ".join(", ".join(blank) for blank in prediction["tokens"])


def _one_line(row: Any) -> str:
    if isinstance(row, dict):
        return " ⏐ ".join(str(value) for value in row.values())
    return " ".join(row if isinstance(row, list) else [str(row)])


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _read(file: str) -> Iterator[Any]:
    if file == "-":
        yield from _rows(sys.stdin, "standard input")
        return
    path = Path(file)
    if not path.is_file():
        raise InputError(f"--file {path}: no such file")
    with path.open(encoding="utf-8") as stream:
        yield from _rows(stream, str(path))


def _rows(stream: TextIO, place: str) -> Iterator[Any]:
    """Texts or rows: a line that begins with `{` is JSON, any other line is a text."""
    try:
        for number, line in enumerate(stream, 1):
            text = line.rstrip("\r\n")
            if not text.strip():
                raise InputError(f"{place}:{number}: empty line; every line is one text, and answers keep its order")
            yield _row(text, f"{place}:{number}") if text.lstrip().startswith("{") else text
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: not UTF-8 text ({error.reason} at byte {error.start})") from error


def _row(text: str, place: str) -> Any:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise InputError(f"{place}: not valid JSON ({error})") from error
    if "tokens" in row:
        return row["tokens"]
    if set(row) >= {"question", "context"}:
        return {"question": row["question"], "context": row["context"]}
    if not isinstance(row.get("text"), str):
        raise InputError(
            f'{place}: expected {{"text": "..."}}, {{"tokens": [...]}} or {{"question": ..., "context": ...}}, '
            f"came keys {', '.join(row) or 'none'}"
        )
    return {"text": row["text"], "text_pair": row["text_pair"]} if row.get("text_pair") is not None else row["text"]


def verify(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Artifact folders.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Check the hashes of artifacts, and that a student still gives the outputs it was saved with."""
    results: list[dict[str, Any]] = []
    for folder in folders:
        with stdout_for_results():
            results.append(_verify(folder))
        if not as_json:
            _say(results[-1])
    if as_json:
        write_json(results)
    if not all(result["ok"] for result in results):
        raise typer.Exit(2)


def _say(result: dict[str, Any]) -> None:
    console = out() if result["ok"] else err()
    mark = "[green]sound[/]" if result["ok"] else "[bold red]error:[/]"
    place = f"  {escape(result['folder'])}  " if result["ok"] else " "
    console.print(f"{mark}{place}{escape(result['message'])}", soft_wrap=True)


def _verify(folder: Path) -> dict[str, Any]:
    from compress.core.artifact import verify as check_hashes

    try:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
        manifest = check_hashes(folder)
        message = f"{len(manifest['files'])} files match their hashes"
        if manifest.get("kind") == "Model" and (folder / "golden.json").is_file():
            from compress.runtime.student import Student

            found = Student.load(folder).verify()
            message += f", and {found.inputs} golden outputs are reproduced (within {found.difference:.2g})"
    except StillroomError as error:
        return {"folder": str(folder), "ok": False, "message": str(error)}
    return {"folder": str(folder), "ok": True, "message": message}


def register(app: typer.Typer) -> None:
    """Put this group on the command line."""
    add_verb(app, "predict", predict)
    add_verb(app, "verify", verify)
