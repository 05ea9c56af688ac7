"""The command line over fake verbs: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from compress import __version__
from compress.cli.app import app
from compress.cli.progress import RichReporter

RECIPE = """\
name: small
steps:
  field: {grow: {text: rye}}
  bread: {cook: {corpus: $field}}
"""
Invoke = Callable[..., Result]


@pytest.fixture
def compress(fake_verbs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs the command line in an empty folder that holds `recipe.yaml`."""
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_run_prints_the_report_and_the_folders(compress: Invoke) -> None:
    """After hours of work the user must be told where the student and the report are."""
    done = compress("run", "recipe.yaml")
    assert done.exit_code == 0, done.output
    assert "runs/small/report.html" in done.stdout and "runs/small/bread" in done.stdout
    assert "field: grow" in done.stderr and "field: grow" not in done.stdout
    assert Path("runs/small/bread/dish.txt").read_text() == "RYE 13"


def test_run_twice_does_no_work_twice(compress: Invoke) -> None:
    """A second run that trains again costs a day."""
    compress("run", "recipe.yaml", "--quiet")
    assert "field: done before" in compress("run", "recipe.yaml").stderr


def test_json_stands_alone_on_stdout(compress: Invoke) -> None:
    """A note among the JSON breaks the script that reads it."""
    done = compress("run", "recipe.yaml", "--json")
    found = json.loads(done.stdout)
    assert found["models"] == {"bread": "runs/small/bread"} and Path(found["report"]["json"]).is_file()


def test_overrides_out_and_until(compress: Invoke) -> None:
    """`--set` must reach the step, `--out` the folder, `--until` the last step."""
    done = compress("run", "recipe.yaml", "--set", "steps.field.grow.text=oats", "--out", "here", "--until", "field")
    assert done.exit_code == 0 and Path("here/field/text.txt").read_text() == "oats 13"
    assert not Path("here/bread").exists()


def test_until_an_unknown_step(compress: Invoke) -> None:
    """A misspelt --until would otherwise run everything."""
    done = compress("run", "recipe.yaml", "--until", "brad")
    assert done.exit_code == 2 and 'did you mean "bread"?' in done.stderr and not Path("runs").exists()


def test_plan_shows_states(compress: Invoke) -> None:
    """Before a long run one wants to know what would be done again."""
    compress("run", "recipe.yaml")
    rows = json.loads(compress("plan", "recipe.yaml", "--set", "steps.bread.cook.seed=1", "--json").stdout)["steps"]
    assert [(row["step"], row["verb"], row["state"]) for row in rows] == [
        ("field", "grow", "done"),
        ("bread", "cook", "stale"),
    ]
    assert "2 of 2 steps to do in elsewhere" in compress("plan", "recipe.yaml", "--out", "elsewhere").stderr


def test_check_reports_every_fault(compress: Invoke) -> None:
    """Faults told one at a time are mended one at a time."""
    Path("recipe.yaml").write_text(RECIPE.replace("text:", "txt:").replace("$field", "$meadow"))
    done = compress("check", "recipe.yaml")
    assert done.exit_code == 2 and 'did you mean "text"?' in done.stderr and "$meadow" in done.stderr
    found = json.loads(compress("check", "recipe.yaml", "--json").stdout)
    assert not found["ok"] and len(found["faults"]) == 2 and found["faults"][0]["where"].startswith("recipe.yaml:3")


def test_check_runs_the_preflight(compress: Invoke) -> None:
    """A missing file is to be seen by `check`, not an hour into `run`."""
    assert compress("check", "recipe.yaml").stdout.startswith("recipe.yaml: fine")
    assert compress("check", "recipe.yaml", "--set", "steps.field.grow.fault=withered").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "absent.yaml"), 2, "no such recipe"),
        (("run", "recipe.yaml", "--set", "steps.field.grow.fails=drought"), 1, "drought"),
        (("run", "recipe.yaml", "--set", "steps.field.grow.fails=disk"), 1, "No space left"),
        (("run", "recipe.yaml", "--set", "nonsense"), 2, "dotted.path=value"),
        (("run",), 2, "Missing argument"),
        (("rum",), 2, "Did you mean 'run'?"),
        (("report", "absent"), 2, "no such folder"),
        (("verify", "absent"), 2, "no such folder"),
        (("predict", "absent", "text"), 2, "absent"),
        (("predict", "absent"), 2, "give either texts or --file"),
        (("explain", "step", "grwo"), 2, 'did you mean "grow"?'),
        (("bench", "model", "--corpus", "absent"), 2, "no such file or folder"),
        (("init", "--data", "absent", "--out", "new.yaml"), 2, "no such file or folder"),
        (("init", "--data", "recipe.yaml", "--out", "recipe.yaml"), 2, "not overwritten"),
    ],
)
def test_errors_are_one_message(compress: Invoke, arguments: tuple[str, ...], code: int, words: str) -> None:
    """A traceback tells a user nothing, and a wrong exit code tells a script the wrong thing."""
    done = compress(*arguments)
    assert done.exit_code == code, done.output
    assert words in done.stderr.replace("\n", " ") and "Traceback" not in done.stderr and done.stdout == ""


def test_debug_shows_the_traceback(compress: Invoke) -> None:
    """Without it a bug report holds nothing to go by."""
    done = compress("run", "recipe.yaml", "--set", "steps.field.grow.fails=drought", "--debug")
    assert done.exit_code == 1 and "Traceback" in done.stderr


def test_interruption(compress: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is no failure: the user is told how to go on."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("compress.pipeline.run.run", interrupted)
    done = compress("run", "recipe.yaml")
    assert done.exit_code == 130 and "run the same command to go on" in done.stderr


def test_a_missing_extra_names_the_pip_line(compress: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """`No module named torch` does not say which extra to install."""

    def no_torch(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("compress.pipeline.run.run", no_torch)
    done = compress("run", "recipe.yaml")
    assert done.exit_code == 2 and 'pip install "stillroom[train]"' in done.stderr.replace("\n", " ")


def test_verify_names_the_damaged_file(compress: Invoke) -> None:
    """One flipped byte among many folders must be found, and the sound ones still be told."""
    compress("run", "recipe.yaml", "--quiet")
    assert "files match" in compress("verify", "runs/small/field", "runs/small/bread").stdout
    Path("runs/small/bread/dish.txt").write_text("RYE 14")
    done = compress("verify", "runs/small/field", "runs/small/bread")
    assert done.exit_code == 2 and "dish.txt" in done.stderr and "runs/small/field" in done.stdout


def test_report_again(compress: Invoke) -> None:
    """A report can be made anew, elsewhere, without running anything."""
    compress("run", "recipe.yaml", "--quiet")
    done = compress("report", "runs/small", "--out", "shown", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["report"]["html"] == "shown/report.html"


def test_version(compress: Invoke) -> None:
    """Bug reports begin with it."""
    assert compress("--version").stdout.strip() == f"stillroom {__version__}"


def test_help_imports_nothing_heavy() -> None:
    """`compress --help` must answer in half a second; one import of torch at module top makes it five."""
    program = (
        "import sys; sys.argv = ['compress', '--help']\nfrom compress.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'pydantic', 'datasets', 'numpy', 'altair', 'yaml'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(verb in done.stdout for verb in ("run", "check", "plan", "report", "bench", "predict", "verify", "init"))


def test_bugs_are_one_line_too(tmp_path: Path) -> None:
    """An error that nobody foresaw must not bury the user under a traceback, and must exit with 1."""
    program = (
        "import sys\nfrom compress.cli import frame, main, app\n"
        "import compress.pipeline.recipe as r\ndef broken(*a): raise KeyError('weights')\nr.load_recipe = broken\n"
        "sys.argv = ['compress', 'check', 'x.yaml', *sys.argv[1:]]\nmain()"
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    done = run()
    assert done.returncode == 1 and done.stderr.startswith("this is a bug in Stillroom: KeyError")
    assert "Traceback" not in done.stderr and "Traceback" in run("--debug").stderr


def test_lines_instead_of_bars_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A bar in a log file is a thousand lines; a note is one, and none at all with --quiet."""
    loud, quiet = RichReporter(), RichReporter(quiet=True)
    for reporter in (loud, quiet):
        with reporter.progress("train", 10) as bar:
            for _ in range(10):
                bar.advance(1, "loss [0.1]")
        reporter.note("a note [with] brackets")
        reporter.warn("a warning")
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.splitlines() == [
        "a note [with] brackets",
        "warning: a warning",
        "warning: a warning",
    ]


def test_bars_nest_on_a_terminal() -> None:
    """An inner bar that ends must not take the outer one with it."""
    from rich.console import Console

    reporter = RichReporter(console=Console(force_terminal=True, file=open(os.devnull, "w"), width=80))  # noqa: SIM115
    with reporter.progress("outer", 2) as outer:
        with reporter.progress("inner", None) as inner:
            inner.advance()
        outer.advance(1, "half")
        assert reporter._bars is not None
    assert reporter._bars is None


def test_sigint_of_a_real_process(tmp_path: Path) -> None:
    """Ctrl-C reaches the process as a signal, not as an exception that a test throws."""
    program = (
        # A test run in the background starts its children with the signal ignored.
        "import signal, sys, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from compress.cli import main\nimport compress.pipeline.recipe as r\n"
        "def slow(*a):\n print('ready', file=sys.stderr, flush=True)\n time.sleep(30)\nr.load_recipe = slow\n"
        "sys.argv = ['compress', 'check', 'x.yaml']\nmain()"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert child.stderr is not None
    while "ready" not in child.stderr.readline():
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 130 and "interrupted" in said
