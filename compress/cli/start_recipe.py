"""`init`: a commented recipe to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from compress.cli.frame import add_verb, err, out
from compress.core.errors import InputError

USUAL_TEACHER = "google-bert/bert-base-uncased"


def init(
    data: Annotated[Path, typer.Option("--data", help="A data file, or a folder with train, dev and test files.")],
    task: Annotated[
        str,
        typer.Option("--task", help="classify, multilabel, regress, tag, answer or embed; auto looks at the columns."),
    ] = "auto",
    recipe: Annotated[Path, typer.Option("--out", help="The recipe to write.")] = Path("recipe.yaml"),
    teacher: Annotated[str, typer.Option("--teacher", help="A Hugging Face folder or hub name.")] = USUAL_TEACHER,
) -> None:
    """Write a commented recipe that is fitted to your data: columns, labels and splits are looked at."""
    from compress.pipeline.starter import starter_recipe

    if recipe.exists():
        raise InputError(f"{recipe}: exists; it is not overwritten. Choose another name with --out")
    text, notes = starter_recipe(data, task, teacher, recipe.stem)
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(text, encoding="utf-8")
    for note in notes:
        err().print(escape(note))
    out().print(f"{escape(str(recipe))} written; look through it, then: compress run {escape(str(recipe))}")


def register(app: typer.Typer) -> None:
    """Put this group on the command line."""
    add_verb(app, "init", init)
