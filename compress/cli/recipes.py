"""`run`, `check` and `plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from compress.cli.frame import AsJson, Quiet, add_verb, err, out, stdout_for_results, write_json
from compress.core.errors import FaultsError, InputError, did_you_mean
from compress.core.processes import this_process

if TYPE_CHECKING:
    from compress.pipeline.plan import Planned
    from compress.pipeline.recipe import Recipe
    from compress.pipeline.store import Store

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe in YAML.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change one value: --set steps.student.distill.epochs=1"),
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the run [default: runs/NAME].")]
STATES = {"done": "[green]done[/]", "stale": "[yellow]stale[/]", "new": "new"}


def run(
    recipe: RecipePath,
    overrides: Overrides = None,
    folder: Out = None,
    until: Annotated[str | None, typer.Option("--until", metavar="STEP", help="Stop after this step.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run a recipe. Finished steps are skipped, an interrupted one goes on from its newest checkpoint."""
    from compress.cli.progress import RichReporter
    from compress.cli.reports import render, show_report

    with stdout_for_results():
        import compress.pipeline.run as pipeline
        from compress.pipeline.recipe import load_recipe

        loaded = load_recipe(recipe, overrides or ())
        if until is not None and until not in loaded.steps:
            hint = did_you_mean(until, loaded.steps)
            raise InputError(f"--until {until}: no step of that name{hint} (steps: {', '.join(loaded.steps)})")
        leads = this_process().leads
        store = pipeline.run(loaded, folder, RichReporter(quiet) if leads else None, until)
        if not leads:  # of several processes one speaks
            return
        report, paths = render(store.root)
    students = _students(store, loaded)
    if as_json:
        shown = {name: str(path) for name, path in paths.items()}
        write_json({"run": str(store.root), "verdict": report["verdict"], "report": shown, "models": students})
        return
    show_report(report, paths)
    for name, place in students.items():
        out().print(f"{name:>14}  {escape(place)}", soft_wrap=True)


def _students(store: Store, recipe: Recipe) -> dict[str, str]:
    """Model folders that this recipe wrote, by step."""
    models = [name for name, step in recipe.steps.items() if step.kind == "Model"]
    return {name: str(store.folder(name)) for name in models if store.folder(name).is_dir()}


def check(recipe: RecipePath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check a recipe and the files that it reads, and report every fault at once. Nothing is run."""
    with stdout_for_results():
        from compress.pipeline.recipe import load_recipe
        from compress.pipeline.run import check as preflight

        try:
            loaded = load_recipe(recipe, overrides or ())
            faults, steps = preflight(loaded), list(loaded.steps)
        except FaultsError as error:
            faults, steps = error.faults, []
    if as_json:
        listed = [{"path": f.path, "message": f.message, "where": f.where} for f in faults]
        write_json({"ok": not faults, "steps": steps, "faults": listed})
        if faults:
            raise typer.Exit(2)
    elif faults:
        raise FaultsError(faults, "" if len(faults) == 1 else f"{len(faults)} faults:")
    else:
        out().print(f"{escape(str(recipe))}: fine ({', '.join(steps)})")


def plan(recipe: RecipePath, overrides: Overrides = None, folder: Out = None, as_json: AsJson = False) -> None:
    """Show each step, its key, and whether it is done, stale or new. Nothing is run."""
    with stdout_for_results():
        import compress.pipeline.run as pipeline
        from compress.pipeline.recipe import load_recipe
        from compress.pipeline.store import Store

        loaded = load_recipe(recipe, overrides or ())
        faults = pipeline.check(loaded)
        if faults:
            raise FaultsError(faults)
        store = Store(folder or pipeline.DEFAULT_ROOT / loaded.name)
        rows = [_row(planned, store) for planned in pipeline.plan_on_disk(loaded)]
    if as_json:
        write_json({"recipe": loaded.name, "run": str(store.root), "steps": rows})
        return
    table = Table("step", "verb", "makes", "reads", "state", "key", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        reads = " ".join(row["inputs"])
        table.add_row(row["step"], row["verb"], row["kind"], reads, STATES[row["state"]], row["key"][:12])
    out().print(table)
    todo = sum(row["state"] != "done" for row in rows)
    err().print(f"{todo} of {len(rows)} steps to do in {escape(str(store.root))}")


def _row(planned: Planned, store: Store) -> dict[str, Any]:
    return {
        "step": planned.name,
        "verb": planned.verb,
        "kind": planned.step.kind,
        "inputs": list(planned.inputs),
        "state": store.state(planned.name, planned.key),
        "key": planned.key,
        "seed": planned.seed,
    }


def register(app: typer.Typer) -> None:
    """Put this group on the command line."""
    add_verb(app, "run", run)
    add_verb(app, "check", check)
    add_verb(app, "plan", plan)
