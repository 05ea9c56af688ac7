"""The plan: pure, and its keys follow what decides a result and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.pipeline.plan import plan
from compress.pipeline.recipe import parse_recipe

pytestmark = pytest.mark.usefixtures("fake_verbs")

TEXT = """\
seed: 7
steps:
  corpus: {grow: {text: leek}}
  dish: {cook: {corpus: $corpus}}
  other: {cook: {corpus: $corpus, base: $dish, also: [$dish]}}
  scale: {weigh: {models: [$dish, $other, $dish]}}
"""


def keys(text: str = TEXT, content: str = "same") -> dict[str, str]:
    return {step.name: step.key for step in plan(parse_recipe(text), lambda path: content)}


def changed(text: str) -> set[str]:
    before, after = keys(), keys(text)
    return {name for name in before if before[name] != after[name]}


def test_names_verbs_and_inputs() -> None:
    """Each input once, in order of use."""
    planned = plan(parse_recipe(TEXT), lambda path: "")
    assert [(p.name, p.verb, p.inputs) for p in planned] == [
        ("corpus", "grow", ()),
        ("dish", "cook", ("corpus",)),
        ("other", "cook", ("corpus", "dish")),
        ("scale", "weigh", ("dish", "other")),
    ]


def test_an_engine_behind_a_step_is_no_part_of_its_name() -> None:
    """`$dish@torch:bf16` must follow a change of the dish, and another engine must be another measurement."""
    line = "  scale: {weigh: {models: [$dish, $dish@torch:bf16]}}"
    text = TEXT.replace("  scale: {weigh: {models: [$dish, $other, $dish]}}", line)
    found = plan(parse_recipe(text), lambda path: "")[-1]
    assert found.inputs == ("dish",)
    before = keys(text)["scale"]
    assert before not in {keys(text.replace("leek", "peas"))["scale"], keys(text.replace("bf16", "compile"))["scale"]}


def test_it_is_deterministic_and_touches_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that reads or writes could not be shown before a run."""
    monkeypatch.chdir(tmp_path)
    text = TEXT.replace("text: leek", "text: leek, path: not/there")
    assert keys(text) == keys(text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("text: leek", "text: peas", {"corpus", "dish", "other", "scale"}),
        ("base: $dish, ", "", {"other", "scale"}),
        ("[$dish, $other, $dish]", "[$other, $dish]", {"scale"}),
        ("text: leek", "text: leek, threads: 4", set()),
        ("text: leek", "text: leek, size: 1", set()),
        ("seed: 7", "seed: 8", {"corpus", "dish", "other", "scale"}),
        ("other: {cook: {", "other: {cook: {seed: 8, ", {"other", "scale"}),
        ("steps:", "name: another\nsteps:", set()),
        ("  scale", "  extra: {grow: {text: new}}\n  scale", set()),
    ],
    ids=["upstream", "one input", "order", "aside", "a default said", "seed", "own seed", "recipe name", "new step"],
)
def test_a_change_cascades_and_nothing_else_does(old: str, new: str, expected: set[str]) -> None:
    """Too few changed keys serve stale results; too many train again for nothing."""
    assert old in TEXT
    assert changed(TEXT.replace(old, new)) == expected


def test_renaming_a_step_costs_nothing() -> None:
    """A key made of names would train again for a better name."""
    renamed = keys(TEXT.replace("dish", "soup"))
    assert renamed["soup"] == keys()["dish"]
    assert renamed["scale"] != keys()["scale"]  # it shows the names


def test_files_count_by_content() -> None:
    """An edited data file under the same path must run again."""
    text = TEXT.replace("text: leek", "text: leek, path: data/x")
    assert keys(text, "one") != keys(text, "two")
    assert keys(text, "one") == keys(text, "one")


def test_the_seed_of_an_unseeded_step_does_not_count() -> None:
    """Measuring the same models under another seed is the same measurement."""
    before = plan(
        parse_recipe("steps: {c: {grow: {}}, d: {cook: {corpus: $c, seed: 1}}, w: {weigh: {models: [$d]}}}"), str
    )
    after = plan(
        parse_recipe("seed: 9\nsteps: {c: {grow: {}}, d: {cook: {corpus: $c, seed: 1}}, w: {weigh: {models: [$d]}}}"),
        str,
    )
    assert before[0].key != after[0].key
    assert [p.seed for p in after] == [9, 1, 9]


def test_a_version_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step whose result changed must not find the old one."""
    from tests.fakes import Grow

    before = keys()
    monkeypatch.setattr(Grow, "version", 2)
    assert keys()["corpus"] != before["corpus"]
    assert keys()["scale"] != before["scale"]
