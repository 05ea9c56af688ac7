"""`report`, `report diff` and `bench`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from compress.cli.frame import AsJson, Quiet, Threads, add_verb, out, stdout_for_results, write_json
from compress.core.errors import Fault, FaultsError, InputError
from compress.core.reporter import Reporter

if TYPE_CHECKING:
    from compress.bench.options import BenchOptions
    from compress.report.gate import Gate

DIFF = "diff"
Models = Annotated[list[str], typer.Argument(metavar="MODEL...", help="Folders or hub names, the reference first.")]
Places = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN_DIR | diff OLD NEW",
        help="A folder that a run wrote; or `diff` and two of them (or report.json, measures.json) to compare.",
        show_default=False,
    ),
]
GateFile = Annotated[
    Path | None,
    typer.Option(
        "--gate", metavar="FILE", help="Limits in YAML; exit code 1 when one is surely missed.", show_default=False
    ),
]
Why = Annotated[bool, typer.Option("--why", help="Say why a model is not faster or smaller, and what to do.")]
Fits = Annotated[
    list[str] | None,
    typer.Option("--fits", metavar="256MB", help="Run every model under this memory limit (may be given again)."),
]


class Device(StrEnum):
    """Where a benchmark runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


SHOWN = ("quality", "retained", "size", "smaller", "latency", "faster", "memory")


def report(
    places: Places,
    folder: Annotated[Path | None, typer.Option("--out", help="Where to write [default: RUN_DIR].")] = None,
    why: Why = False,
    gate: GateFile = None,
    as_json: AsJson = False,
) -> None:
    """Collect what a run measured and write report.html, .md, .json, .csv and the pictures, or compare two reports.

    Loads no model. `compress report diff OLD NEW` says what became better or worse.
    """
    if places[0] == DIFF:
        if gate or why or folder:
            raise InputError(
                "report diff: takes --json only; give --gate, --why and --out to `compress report RUN_DIR`"
            )
        _diff(places[1:], as_json)
        return
    if len(places) > 1:
        raise InputError(f"expected one folder, or `diff OLD NEW` to compare two; came {' '.join(places)}")
    with stdout_for_results():
        from compress.report.gate import read_gate

        collected, paths = render(Path(places[0]), folder, None if gate is None else read_gate(gate))
    _tell(collected, paths, why, as_json)


def bench(
    models: Models,
    corpus: Annotated[Path, typer.Option("--corpus", help="A prepared corpus, or a data file or folder.")],
    folder: Annotated[Path, typer.Option("--out", help="Where measures and report go.")] = Path("runs/bench"),
    device: Annotated[
        Device, typer.Option("--device", help="auto: CUDA when every model can run there.")
    ] = Device.auto,
    engine: Annotated[
        str, typer.Option("--engine", help="auto, onnx, openvino, torch or a variant (torch:bf16), for all of them.")
    ] = "auto",
    threads: Threads = None,
    fits: Fits = None,
    why: Why = False,
    gate: GateFile = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure models on real texts, each in a fresh process, and report them against the first."""
    from compress.cli.progress import RichReporter

    if not corpus.exists():
        raise InputError(f"--corpus {corpus}: no such file or folder; give the corpus of a run, or a data file")
    try:
        folder.mkdir(parents=True, exist_ok=True)  # before minutes of measuring, not after
    except OSError as error:
        raise InputError(f"--out {folder}: cannot be written ({error.strerror}); choose another folder") from error
    steps = sorted(path.parent.name for path in folder.glob("*/manifest.json") if path.parent.name != "corpus")
    if steps:
        raise InputError(
            f"--out {folder}: holds the run of a recipe ({', '.join(steps)}), whose measurements would be mixed with "
            "these; choose another folder"
        )
    with stdout_for_results():
        from compress.bench.run import bench_models
        from compress.core.artifact import write_json as write_synced

        options = _options(device=device.value, threads=threads, engine=engine, fits=fits or [])
        limits = None if gate is None else _gate(gate, models)
        reporter = RichReporter(quiet)
        measures = bench_models(models, _prepared(corpus, folder, reporter), options, reporter=reporter)
        write_synced(folder / "measures.json", measures)
        collected, paths = render(folder, gate=limits)
    _tell(collected, paths, why, as_json, subjects=collected["subjects"])


def _options(**given: Any) -> BenchOptions:
    """The flags as options. Raises FaultsError that names the flag."""
    from pydantic import ValidationError

    from compress.bench.options import BenchOptions
    from compress.core.options import faults_of

    try:
        return BenchOptions.model_validate(given)
    except ValidationError as error:
        raise FaultsError([Fault(f"--{f.path}", f.message) for f in faults_of(error, BenchOptions)]) from None


def _gate(path: Path, models: list[str]) -> Gate:
    """The limits, read and held against the models' names before minutes of measuring, not after."""
    from compress.bench.sources import names_of
    from compress.report.gate import read_gate

    limits = read_gate(path)
    limits.check_names(names_of(models))
    return limits


def _tell(collected: Mapping[str, Any], paths: Mapping[str, Path], why: bool, as_json: bool, **more: Any) -> None:
    """The outcome, as JSON or for people. Raises JobError (exit code 1) when the gate is missed."""
    from compress.report.gate import insist

    gate = collected.get("gate")
    if as_json:
        shown = {name: str(path) for name, path in paths.items()}
        extra = {**({"why": collected["why"]} if why else {}), **({"gate": gate} if gate else {}), **more}
        write_json({"verdict": collected["verdict"], "report": shown, **extra})
    else:
        show_report(collected, paths)
        _show_details(collected, why)
    if gate:
        insist(gate)


def _show_details(collected: Mapping[str, Any], why: bool) -> None:
    """Whether each model fits, what the gate said, and the findings when they were asked for."""
    from compress.report.gate import sentence
    from compress.report.numbers import bytes_text
    from compress.report.why import lines

    limits = {None: "cannot tell", True: "yes", False: "no"}
    for subject in collected["subjects"]:
        for found in subject.get("fits") or []:
            because = f" ({found['why']})" if found.get("why") else ""
            _say("fits", f"{subject['name']} in {bytes_text(found['limit_bytes'])}: {limits[found['fits']]}{because}")
    for found in (collected.get("gate") or {}).get("limits", []):
        _say("gate", sentence(found))
    for line in lines(collected["why"]) if why else ():
        _say("why", line)


def _say(what: str, text: str) -> None:
    out().print(f"{what:>14}  {escape(text)}", soft_wrap=True)


def _diff(places: list[str], as_json: bool) -> None:
    """What became better or worse between two stored reports."""
    if len(places) != 2:
        raise InputError(f"expected `report diff OLD NEW`, came {len(places)} of the two")
    with stdout_for_results():
        from compress.report.diff import diff, read_report, table

        found = diff(*(read_report(Path(place)) for place in places))
        titles, rows = table(found)
    if as_json:
        write_json(found)
        return
    out().print(_table(titles, rows))
    for note in found["notes"]:
        _say("note", note)


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    shown = Table(*titles, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        shown.add_row(*map(escape, row))
    return shown


def _prepared(corpus: Path, folder: Path, reporter: Reporter) -> Path:
    """The corpus as it is, when a run prepared it; else it is prepared here, its columns guessed as `init` does."""
    from compress.core.artifact import MANIFEST

    if (corpus / MANIFEST).is_file():
        return corpus
    import compress.pipeline.run as pipeline
    from compress.pipeline.recipe import parse_recipe
    from compress.pipeline.starter import prepare_options

    lines, notes = prepare_options(corpus, "auto")
    for note in notes:
        reporter.note(note)
    recipe = parse_recipe("\n".join(["steps:", "  corpus:", "    prepare:", *lines]))
    return pipeline.run(recipe, folder, reporter).folder("corpus")


def render(
    run_dir: Path, folder: Path | None = None, gate: Gate | None = None
) -> tuple[dict[str, Any], dict[str, Path]]:
    """The collected report of a run, held against a gate when there is one, and the files written from it."""
    from compress.report.collect import collect
    from compress.report.render import write_report

    collected = collect(run_dir, gate)
    return collected, write_report(collected, run_dir, folder)


def show_report(collected: Mapping[str, Any], paths: Mapping[str, Path]) -> None:
    """The main table on the terminal, the verdict, and where the files are."""
    from compress.report.tables import main_table

    console = out()
    found = main_table(collected)
    if found.rows:
        table = Table(box=None, pad_edge=False, header_style="bold")
        wanted = [column for column in found.columns if column.name in ("subject", *SHOWN)]
        for column in wanted:
            table.add_column(column.title, justify="right" if column.numeric else "left", no_wrap=not column.numeric)
        for row in found.rows:
            table.add_row(*(escape(row.cells[column.name].text) for column in wanted))
        console.print(table)
        console.print()
    console.print(f"[bold]{escape(collected['verdict'])}[/]")
    if "html" in paths:
        console.print(f"{'report':>14}  {escape(str(paths['html']))}", soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Put this group on the command line."""
    add_verb(app, "report", report)
    add_verb(app, "bench", bench)
