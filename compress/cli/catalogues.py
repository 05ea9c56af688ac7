"""`list`, `explain` and `schema`: what a recipe can say."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from compress.cli.frame import AsJson, add_verb, out, stdout_for_results, write_json


def list_methods(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="Such as loss, student or step.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the methods that a recipe can name, of one kind or of all."""
    with stdout_for_results():
        from compress.pipeline.describe import methods

        found = methods(kind)
    if as_json:
        write_json(found)
        return
    table = Table("kind", "name", "what it is", box=None, pad_edge=False, header_style="bold")
    for name, entries in found.items():
        for index, (method, summary) in enumerate(entries.items()):
            table.add_row(name if index == 0 else "", f"[cyan]{escape(method)}[/]", escape(summary))
    out().print(table)


def explain(
    kind: Annotated[str, typer.Argument(help="Such as loss, student or step.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Such as hidden_mse, tinybert or distill.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Show the options of a method, their defaults and meaning, its paper, and an example for a recipe."""
    with stdout_for_results():
        from compress.pipeline.describe import describe

        found = describe(kind, name)
    if as_json:
        write_json(found.as_dict())
        return
    console = out()
    console.print(f"[bold]{escape(found.kind)} [cyan]{escape(found.name)}[/cyan][/bold]")
    console.print(escape(found.text))
    if found.paper:
        console.print(f"paper: {escape(found.paper)}")
    if found.fields:
        console.print()
        table = Table("option", "takes", "default", "meaning", box=None, pad_edge=False, header_style="bold")
        for field in found.fields:
            table.add_row(
                f"[cyan]{escape(field.name)}[/]", escape(field.takes), escape(field.default), escape(field.text)
            )
        console.print(table)
    console.print("\n[bold]in a recipe[/]")
    console.print(escape(found.example), soft_wrap=True)


def schema() -> None:
    """Write the JSON Schema of a recipe, for editors that complete and check YAML."""
    with stdout_for_results():
        from compress.pipeline.describe import recipe_schema

        found = recipe_schema()
    write_json(found)


def register(app: typer.Typer) -> None:
    """Put this group on the command line."""
    add_verb(app, "list", list_methods)
    add_verb(app, "explain", explain)
    add_verb(app, "schema", schema)
