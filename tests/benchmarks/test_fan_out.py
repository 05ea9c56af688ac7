"""Steps of many recipes side by side: each once, in order, and nothing that is timed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.fan_out import THREADS, fan_out, parts
from compress.core.errors import JobError
from compress.core.reporter import Reporter
from compress.pipeline.recipe import Recipe, parse_recipe
from compress.pipeline.run import run

TEXT = """
seed: {seed}
steps:
  corpus: {{prepare: {{source: {{reviews: {{rows: 200, seed: 3}}}}, task: {{classify: {{}}}}, seed: 1}}}}
  more: {{augment: {{corpus: $corpus, methods: [{method}], copies: 1}}}}
  again: {{augment: {{corpus: $more, methods: [joined], copies: 1}}}}
"""
BENCH = "  speed: {{bench: {{models: [some/model], corpus: $corpus}}}}\n"


def recipe(seed: int, method: str = "ngrams", more: str = "") -> Recipe:
    return parse_recipe((TEXT + more).format(seed=seed, method=method))


def test_a_part_holds_what_it_comes_from_and_no_more() -> None:
    """Prevents a student that waits for another one, steps that are made twice, and a bench beside trainings."""
    found = {part.name: part for part in parts(recipe(1, more=BENCH))}
    assert list(found) == ["corpus", "more", "again"]
    assert list(found["more"].recipe.steps) == ["corpus", "more"]
    assert found["again"].needs == {found["corpus"].key, found["more"].key}
    assert [part.name for part in parts(recipe(1, more=BENCH), until="more")] == ["corpus", "more"]
    other = {part.name: part for part in parts(recipe(2))}
    assert other["corpus"].key == found["corpus"].key and other["more"].key != found["more"].key


def test_runs_take_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents work that nobody finds afterwards (the runs must have nothing left to do), and a bench on one thread."""
    monkeypatch.delenv(THREADS, raising=False)
    recipes = [recipe(1), recipe(2)]
    fan_out(recipes, tmp_path, jobs=2)
    assert THREADS not in os.environ
    assert len(list(tmp_path.glob("part-*"))) == 5
    said: list[str] = []

    class Notes(Reporter):
        def note(self, text: str) -> None:
            said.append(text)

    for number, one in enumerate(recipes):
        run(one, tmp_path / f"run-{number}", Notes())
    assert len(said) == 6 and all("taken from" in text for text in said)


def test_a_part_that_fails_says_why(tmp_path: Path) -> None:
    """Prevents a benchmark that ends well with half of its steps, and an error that is lost between processes."""
    with pytest.raises(JobError, match="no such file"):
        fan_out([recipe(1, method="{neighbours: {vectors: missing.txt}}")], tmp_path, jobs=2)
    assert not list(tmp_path.glob("part-*/again"))
