"""The ablation: its recipe is valid, and what one seed says is no claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.ablation import VARIANTS, WHOLE, arguments, claims, recipe_of
from compress.pipeline.recipe import parse_recipe


def rows(whole: list[float], less: list[float]) -> list[dict[str, Any]]:
    return [{"variant": name, "by_seed": whole if name == WHOLE else less} for name in VARIANTS]


@pytest.mark.parametrize("teacher", [[], ["--teacher", "somewhere"]])
def test_the_recipe_is_valid(teacher: list[str], tmp_path: Path) -> None:
    """Prevents a benchmark that breaks at its first step, hours after it was started."""
    given = ["--data", str(tmp_path), "--books", str(tmp_path), "--body", str(tmp_path), *teacher]
    recipe = parse_recipe(yaml.safe_dump(recipe_of(arguments(given), 1), sort_keys=False))
    assert {name.replace(" ", "-") for name in VARIANTS} <= set(recipe.steps)


def test_one_seed_is_no_claim() -> None:
    """Prevents "this part helps" from one lucky seed, and a table of one seed that counts as measured."""
    assert [one["name"] for one in claims(rows([80.0], [70.0])) if one["met"]] == []
    assert all(one["met"] for one in claims(rows([80.0, 81.0, 82.0], [70.0, 71.0, 72.5])))


def test_claims_say_which_part_was_worth_something() -> None:
    """Prevents a difference the wrong way round, and variants that were never run but are met."""
    made = {one["name"]: one for one in claims(rows([80.0, 80.0, 80.0], [81.0, 82.0, 80.0]))}
    assert made["everything above no attention"]["value"] == pytest.approx(-1)
    assert made["everything above no attention"]["met"] is False
    assert made["variants with three seeds"]["met"] is True
    nothing = claims([])
    assert [one["met"] for one in nothing] == [False] * (len(VARIANTS) + 1)
    assert nothing[-1]["name"].endswith("(not run)")
