"""`report` and `bench`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from compress.cli.frame import AsJson, Quiet, Threads, add_verb, out, stdout_for_results, write_json
from compress.core.errors import InputError
from compress.core.reporter import Reporter

Models = Annotated[list[str], typer.Argument(metavar="MODEL...", help="Folders or hub names, the reference first.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A folder that a run wrote.", show_default=False)]


class Device(StrEnum):
    """Where a benchmark runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


SHOWN = ("quality", "retained", "size", "smaller", "latency", "faster", "memory")


def report(
    run_dir: RunFolder,
    folder: Annotated[Path | None, typer.Option("--out", help="Where to write [default: RUN_DIR].")] = None,
    as_json: AsJson = False,
) -> None:
    """Collect what a run measured and write report.html, .md, .json, .csv and the picture. Loads no model."""
    with stdout_for_results():
        collected, paths = render(run_dir, folder)
    if as_json:
        shown = {name: str(path) for name, path in paths.items()}
        write_json({"verdict": collected["verdict"], "report": shown})
    else:
        show_report(collected, paths)


def bench(
    models: Models,
    corpus: Annotated[Path, typer.Option("--corpus", help="A prepared corpus, or a data file or folder.")],
    folder: Annotated[Path, typer.Option("--out", help="Where measures and report go.")] = Path("runs/bench"),
    device: Annotated[
        Device, typer.Option("--device", help="auto: CUDA when every model can run there.")
    ] = Device.auto,
    engine: Annotated[str, typer.Option("--engine", help="auto, onnx or torch, for all of them.")] = "auto",
    threads: Threads = None,
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
    with stdout_for_results():
        from compress.bench.options import BenchOptions
        from compress.bench.run import bench_models
        from compress.core.artifact import write_json as write_synced

        options = BenchOptions.model_validate({"device": device.value, "threads": threads, "engine": engine})
        reporter = RichReporter(quiet)
        measures = bench_models(models, _prepared(corpus, folder, reporter), options, reporter=reporter)
        write_synced(folder / "measures.json", measures)
        collected, paths = render(folder)
    if as_json:
        shown = {name: str(path) for name, path in paths.items()}
        write_json({"verdict": collected["verdict"], "report": shown, "subjects": collected["subjects"]})
    else:
        show_report(collected, paths)


def _prepared(corpus: Path, folder: Path, reporter: Reporter) -> Path:
    """The corpus as it is, when a run prepared it; else it is prepared here, its columns guessed as `init` does."""
    from compress.core.artifact import MANIFEST

    if (corpus / MANIFEST).is_file():
        return corpus
    import compress.pipeline.run as pipeline
    from compress.pipeline.recipe import parse_recipe
    from compress.pipeline.starter import prepare_options

    lines, notes = prepare_options(corpus, "classify")
    for note in notes:
        reporter.note(note)
    recipe = parse_recipe("\n".join(["steps:", "  corpus:", "    prepare:", *lines]))
    return pipeline.run(recipe, folder, reporter).folder("corpus")


def render(run_dir: Path, folder: Path | None = None) -> tuple[dict[str, Any], dict[str, Path]]:
    """The collected report of a run, and the paths of the files written from it."""
    from compress.report.collect import collect
    from compress.report.render import write_report

    collected = collect(run_dir)
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
