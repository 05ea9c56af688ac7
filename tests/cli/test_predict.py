"""`predict` over a student that a test makes up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from compress.cli.app import app
from compress.runtime.prediction import Blanks, Label, Tags, Value


class Echo:
    """Gives one prepared prediction for every input, and remembers the inputs."""

    def __init__(self, prediction: Any) -> None:
        self.prediction = prediction
        self.seen: list[Any] = []

    def load(self, *_: Any, **__: Any) -> Echo:
        return self

    def predict(self, inputs: list[Any]) -> list[Any]:
        self.seen += inputs
        return [self.prediction] * len(inputs)


def told(prediction: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str, typed: str = "") -> tuple[str, list[Any]]:
    """What `predict` printed, and what the student was given."""
    echo = Echo(prediction)
    monkeypatch.setattr("compress.runtime.student.Student", echo)
    done = CliRunner().invoke(app, ["predict", "student", *arguments], input=typed)
    assert done.exit_code == 0, done.output
    return done.stdout, echo.seen


@pytest.mark.parametrize(
    ("prediction", "shown"),
    [
        (Label("good", 0.9, {"good": 0.9, "bad": 0.1}), "good\t0.9000\ta text"),
        (Value(3.25), "3.2500\ta text"),
        (Tags(("a", "text"), ("O", None), (0.9, None), ()), "O -\ta text"),
        (Blanks(({"cat": 0.6, "dog": 0.2},)), "cat, dog\ta text"),
    ],
)
def test_every_task_has_a_line(prediction: Any, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line made for labels alone would fail, or say nothing, for a regression student."""
    assert told(prediction, monkeypatch, "a text")[0] == shown + "\n"


def test_standard_input_mixes_lines_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs must arrive as pairs, words as words."""
    lines = 'plain [text]\n{"text": "a", "text_pair": "b"}\n{"tokens": ["x", "y"]}\n'
    shown, seen = told(Value(1.0), monkeypatch, "--file", "-", "--json", typed=lines)
    assert seen == ["plain [text]", {"text": "a", "text_pair": "b"}, ["x", "y"]]
    assert [json.loads(line)["value"] for line in shown.splitlines()] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"text": 1}\n', ":1: expected"),
        (b'fine\n{"text"\n', ":2: not valid JSON"),
        (b"\xff\xfe\n", "not UTF-8"),
        (b"fine\n\nalso fine\n", ":2: empty line"),
    ],
)
def test_bad_files_are_told_by_line(
    content: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Line 80,000 of a file is not found by a message without a number."""
    (tmp_path / "rows.jsonl").write_bytes(content)
    monkeypatch.setattr("compress.runtime.student.Student", Echo(Value(1.0)))
    done = CliRunner().invoke(app, ["predict", "student", "--file", str(tmp_path / "rows.jsonl")])
    assert done.exit_code == 2 and words in done.stderr.replace("\n", " ")


def test_predict_imports_no_torch(tmp_path: Path) -> None:
    """An app's machine holds onnxruntime and no torch."""
    program = (
        "import sys; sys.argv = ['compress', 'predict', 'absent', 'text']\nfrom compress.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert end.code == 2, end.code\n"
        "sys.exit(str({'torch', 'transformers', 'datasets'} & set(sys.modules)).replace('set()', '') or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
