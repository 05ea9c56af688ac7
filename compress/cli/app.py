"""The `compress` application: one module per group of verbs, each verb a few lines over the Python API."""

from __future__ import annotations

from typing import Annotated

import typer

from compress import __version__
from compress.cli import catalogues, models, recipes, reports, start_recipe
from compress.cli.frame import hide_tracebacks, out

app = typer.Typer(
    name="compress",
    help="Turn a large transformer teacher into the smallest, fastest student that is still good enough.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        out().print(f"stillroom {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


for group in (recipes, reports, models, catalogues, start_recipe):
    group.register(app)


def start() -> None:
    """Run the command line; a traceback is shown only with --debug."""
    hide_tracebacks()
    typer.main.get_command(app)(prog_name="compress")
