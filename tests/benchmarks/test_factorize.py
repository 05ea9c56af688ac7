"""The benchmark of factorizations: its recipe is valid, and its claims say which way is better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from benchmarks.factorize import PROMISED, START, arguments, claims, recipe_of, row
from compress.pipeline.recipe import parse_recipe


def manifests(before: int, after: int, start: float, repaired: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a start and its repair leave behind, of a teacher at 0.8."""
    counts = {"embeddings": before, "encoder": before, "total": before}
    smaller = {"embeddings": after, "encoder": after, "total": after}
    measured = {"before": {"dev": {"accuracy": 0.8}}, "dev": {"accuracy": start}}
    measured["parameters"] = {"before": counts, "after": smaller}  # type: ignore[assignment]
    return {"measured": measured}, {"measured": {"dev": {"accuracy": repaired}}, "environment": {}}


def test_the_recipe_is_valid(tmp_path: Path) -> None:
    """Prevents a benchmark that breaks at its first step, hours after it was started."""
    for model in ("--teacher", "--body"):
        options = arguments(["--data", str(tmp_path), model, str(tmp_path), "--rows", "100", "narrow=50"])
        recipe = parse_recipe(yaml.safe_dump(recipe_of(options), sort_keys=False))
        assert len(recipe.steps) == 3 + (model == "--body") + 2 * len(START)
        trained = {
            name: one["distill"]["corpus"] for name, one in recipe_of(options)["steps"].items() if "distill" in one
        }
        assert trained.pop("narrow-repaired") == "$corpus-50" and set(trained.values()) == {"$corpus-100"}


def test_claims_compare_the_smaller_with_the_larger() -> None:
    """Prevents a ratio the wrong way round, a share of the wrong model, and a start that was not run but is met."""
    found = {"narrow": {seed: manifests(300, 100, 0.4, 0.8) for seed in (1, 2, 3)}, "shared-anchor": {}}
    seeds, fewer, share, *rest = claims(found)
    assert (seeds["name"], seeds["value"], seeds["met"]) == ("seeds", 0, False)
    assert (fewer["value"], fewer["met"], share["value"], share["met"]) == (3.0, True, 100.0, True)
    assert [one["met"] for one in rest] == [False, False]
    line = row("narrow", found["narrow"])
    assert (line["kept_before_repair"], line["kept"], line["embeddings_fewer"]) == (50.0, 100.0, 3.0)
    assert {name for name, *_ in PROMISED} <= set(START)


def test_one_seed_is_no_claim() -> None:
    """Prevents a share of the teacher that is met by one lucky seed, and seeds that nobody counts."""
    found = {name: {seed: manifests(300, 50, 0.4, 0.8) for seed in (1, 2, 3)} for name, *_ in PROMISED}
    assert all(one["met"] for one in claims(found))
    found["narrow"] = {1: manifests(300, 50, 0.4, 0.8)}
    made = {one["name"]: one for one in claims(found)}
    assert (made["seeds"]["value"], made["seeds"]["met"]) == (1, False)
    assert [name for name, one in made.items() if not one["met"]] == [
        "seeds", "narrow: share of the teacher after repair (one seed: see the rows)",
    ]  # fmt: skip
