"""`report`, `report diff` and the flags of `bench`, over stored measures and a benchmark that is not run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from compress.cli.app import app
from compress.core.artifact import write_json
from tests.report.made_up import measures, subject

Invoke = Callable[..., Result]


@pytest.fixture
def compress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """The command line in an empty folder with two sets of measures, `old` and `new`; rendering is left out."""
    monkeypatch.chdir(tmp_path)
    for name, shapes in (("old", ("teacher", "int8")), ("new", ("teacher", "int8", "tiny"))):
        Path(name).mkdir()
        write_json(Path(name) / "measures.json", measures(*(subject(shape) for shape in shapes)))
    Path("gates.yaml").write_text('"*": {max_size: 20MB}\n')

    def written(report: dict[str, Any], run_dir: Path, out: Path | None = None) -> dict[str, Path]:
        write_json(run_dir / "report.json", report)
        return {"json": run_dir / "report.json"}

    monkeypatch.setattr("compress.report.render.write_report", written)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def benched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """`bench` that measures nothing; the options that it was called with."""
    asked: list[Any] = []

    def bench_models(models: list[str], corpus: Path, options: Any, **_: Any) -> dict[str, Any]:
        asked.append(options)
        small = {"limit_bytes": 256_000_000, "fits": False, "how": "cgroup", "why": "killed"}
        return measures(subject("teacher"), subject("int8", fits=[small]))

    monkeypatch.setattr("compress.bench.run.bench_models", bench_models)
    monkeypatch.setattr("compress.cli.reports._prepared", lambda corpus, *_: corpus)
    return asked


def test_report_diff(compress: Invoke) -> None:
    """Two runs side by side in two windows is how regressions are missed."""
    done = compress("report", "diff", "old", "new")
    assert done.exit_code == 0, done.output
    assert "verdict" in done.stdout and "SAME" in done.stdout and "tiny is in the new report only" in done.stdout
    found = json.loads(compress("report", "diff", "old", "new/measures.json", "--json").stdout)
    assert set(found["subjects"]) == {"teacher", "int8"} and found["comparable"] == {"machine": True, "rows": True}


def test_report_still_reports(compress: Invoke) -> None:
    """`report RUN` is in scripts; a subcommand must not break it."""
    done = compress("report", "old", "--why")
    assert done.exit_code == 0 and "int8: " in done.stdout and json.loads(Path("old/report.json").read_text())["why"]
    assert "why" not in json.loads(compress("report", "old", "--json").stdout)
    assert set(json.loads(compress("report", "old", "--why", "--json").stdout)["why"]) == {"teacher", "int8"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("report", "diff", "old"), 2, "expected `report diff OLD NEW`"),
        (("report", "diff", "old", "absent"), 2, "absent: no such file or folder"),
        (("report", "diff", "old", "new", "--gate", "gates.yaml"), 2, "takes --json only"),
        (("report", "diff", "old", "new", "--why"), 2, "takes --json only"),
        (("report", "old", "new"), 2, "or `diff OLD NEW`"),
        (("report", "old", "--gate", "absent.yaml"), 2, "cannot be read"),
        (("report", "new", "--gate", "gates.yaml"), 1, "tiny: max_size 20.0 MB missed with 58.0 MB"),
        (("bench", "m", "--corpus", "old", "--fits", "12XB"), 2, "--fits[0]: expected an amount such as 256MB"),
        (("bench", "m", "--corpus", "old", "--gate", "absent.yaml"), 2, "cannot be read"),
    ],
)
def test_errors_and_missed_gates(compress: Invoke, arguments: tuple[str, ...], code: int, words: str) -> None:
    """A script tells a missed gate (1) from a wrong call (2) by the exit code."""
    done = compress(*arguments)
    assert done.exit_code == code, done.output
    assert words in done.stderr.replace("\n", " ") and "Traceback" not in done.stderr


def test_a_missed_gate_is_in_the_report_and_in_the_json(compress: Invoke) -> None:
    """Whoever reads that the job failed wants to see by how much."""
    done = compress("report", "new", "--gate", "gates.yaml", "--json")
    assert done.exit_code == 1
    assert not json.loads(done.stdout)["gate"]["passed"]
    assert json.loads(Path("new/report.json").read_text())["gate"]["limits"][0]["state"] == "met"


def test_bench_flags_reach_the_benchmark(compress: Invoke, benched: list[Any]) -> None:
    """A flag that is read and dropped measures something else than was asked for."""
    arguments = ("bench", "runs/teacher", "runs/int8", "--corpus", "old", "--out", "out")
    done = compress(*arguments, "--fits", "256MB", "--fits", "1GiB", "--gate", "gates.yaml", "--why")
    assert done.exit_code == 0, done.output
    assert benched[0].fits == ["256MB", "1GiB"]
    assert "int8 in 256 MB: no (killed)" in done.stdout and "int8: max_size 20.0 MB met with 15.9 MB" in done.stdout
    assert "why" in done.stdout
    found = json.loads(compress(*arguments, "--gate", "gates.yaml", "--why", "--json").stdout)
    assert found["gate"]["passed"] and found["why"] and found["subjects"]


def test_a_bench_does_not_write_into_a_recipes_run(compress: Invoke, benched: list[Any]) -> None:
    """Its corpus would replace the recipe's, and the gate would judge the recipe's old numbers."""
    Path("run/teacher").mkdir(parents=True)
    Path("run/teacher/manifest.json").write_text("{}")
    done = compress("bench", "runs/teacher", "runs/int8", "--corpus", "old", "--out", "run")
    assert done.exit_code == 2 and "holds the run of a recipe (teacher)" in done.stderr.replace("\n", " ")
    assert not benched


def test_a_gate_for_a_model_that_is_not_measured(compress: Invoke, benched: list[Any]) -> None:
    """A misspelt name is to be seen before the measuring, not after it."""
    Path("gates.yaml").write_text("int9: {max_size: 20MB}")
    done = compress("bench", "runs/teacher", "runs/int8", "--corpus", "old", "--gate", "gates.yaml")
    assert done.exit_code == 2 and 'did you mean "int8"?' in done.stderr and not benched
