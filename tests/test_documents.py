"""What the documents show must work as it is written."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)


def test_the_loss_of_contributing_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thing that a contributor copies must run."""
    import torch

    from compress.core.trace import Trace
    from compress.losses.base import LOSSES

    LOSSES.names()
    monkeypatch.setattr(LOSSES, "_methods", dict(LOSSES._methods))
    (source,) = blocks("CONTRIBUTING.md", "python")
    exec(compile(source, "CONTRIBUTING.md", "exec"), vars(SimpleNamespace(__name__="contributed")))
    mask = torch.ones(2, 3, dtype=torch.bool)
    student = Trace(mask, logits=torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    teacher = Trace(mask, logits=torch.tensor([[0.0, 2.0], [2.0, 2.0]]))
    loss = LOSSES.get("logits_cosine")()
    assert math.isclose(float(loss(student, teacher)), 0.5, rel_tol=1e-6)


def test_the_recipe_of_the_readme_is_valid() -> None:
    """A recipe that is copied from the README must be accepted as it stands."""
    from compress.pipeline.recipe import parse_recipe

    (text,) = blocks("README.md", "yaml")
    assert list(parse_recipe(text).steps) == ["corpus", "teacher", "student", "int8", "speed"]


def test_the_verbs_of_the_readme_exist() -> None:
    """A verb that is gone or renamed must go from the README too."""
    import typer

    from compress.cli.app import app

    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = {word for line in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for word in re.findall(r"`(\w+)`", line)}
    assert shown == known
    assert set(re.findall(r"compress (\w+)", "\n".join(blocks("README.md", "")))) <= known


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_paths_in_the_documents_exist(name: str) -> None:
    """A file that moved leaves a dead pointer."""
    text = (ROOT / name).read_text(encoding="utf-8")
    shown = re.findall(r"`((?:configs|tests|compress|benchmarks|docs|core)/[\w./-]*)`", text)
    shown += re.findall(r"\]\(([\w./-]+)\)", text)
    named = {path for path in shown if "NAME" not in path and "logits_cosine" not in path}
    assert [path for path in named if not (ROOT / path).exists() and not (ROOT / "compress" / path).exists()] == []
