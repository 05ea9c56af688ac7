"""Recipes: every fault at once, with its place in the recipe and in the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.errors import FaultsError, InputError
from compress.pipeline.recipe import load_recipe, parse_recipe

pytestmark = pytest.mark.usefixtures("fake_verbs")

GOOD = """\
name: soup
seed: 7
steps:
  corpus: {grow: {text: leek, size: 2}}
  dish: {cook: {corpus: $corpus}}
  other:
    cook:
      corpus: $corpus
      base: some/hub-name
      also: [$dish]
"""


def faults(text: str, *overrides: str) -> list[str]:
    with pytest.raises(FaultsError) as caught:
        parse_recipe(text, Path("r.yaml"), overrides)
    return [str(fault) for fault in caught.value.faults]


def test_a_good_recipe() -> None:
    """Names, seed and filled options come out as written."""
    recipe = parse_recipe(GOOD)
    assert (recipe.name, recipe.seed, list(recipe.steps)) == ("soup", 7, ["corpus", "dish", "other"])
    assert recipe.steps["corpus"].dump()["text"] == "leek"
    assert recipe.where("steps.other.cook.also[0]") == "recipe:10"


def test_every_fault_at_once_with_its_line() -> None:
    """One fault per run costs the user one run per fault."""
    text = """\
seed: -1
stepz: {}
steps:
  corpus:
    grow:
      tekst: leek
      size: 0
  Dish: {cook: {corpus: $corpus}}
  two: {cook: {corpus: $corpus}, grow: {}}
  verb: {bake: {}}
  none:
"""
    assert faults(text) == [
        'r.yaml:2: stepz: not a key of a recipe (it has name, seed, settings, steps); did you mean "steps"?',
        "r.yaml:1: seed: expected a whole number from 0 to 2^32 - 1, came -1",
        "r.yaml:7: steps.corpus.grow.size: expected greater than or equal to 1, came int 0",
        "r.yaml:6: steps.corpus.grow.tekst: not an option of grow (it has text, size, rate, fails, threads, path, "
        'fault); did you mean "text"?',
        "r.yaml:8: steps.Dish: a step's name is lower-case letters, digits, - and _, starting with a letter",
        "r.yaml:9: steps.two: expected one verb as {verb: {options}}, came cook, grow (verbs: cook, grow, weigh)",
        "r.yaml:10: steps.verb.bake: 'bake' is not a known step (known: cook, grow, weigh)",
        "r.yaml:11: steps.none: expected one verb as {verb: {options}}, came NoneType (verbs: cook, grow, weigh)",
    ]


@pytest.mark.parametrize(
    ("steps", "fault"),
    [
        (
            "dish: {cook: {corpus: $corpus}}\n  corpus: {grow: {}}",
            "r.yaml:2: steps.dish.cook.corpus: $corpus stands below; a step may use only what stands above it",
        ),
        ("dish: {cook: {corpus: $dish}}", "r.yaml:2: steps.dish.cook.corpus: $dish is not a step above"),
        (
            "corpus: {grow: {}}\n  dish: {cook: {corpus: $corpsu}}",
            'r.yaml:3: steps.dish.cook.corpus: $corpsu is not a step above; did you mean "corpus"?',
        ),
        (
            "corpus: {grow: {}}\n  dish: {cook: {corpus: $corpus, base: $corpus}}",
            "r.yaml:3: steps.dish.cook.base: expected a Model, but $corpus makes a Corpus",
        ),
        (
            "corpus: {grow: {}}\n  dish: {cook: {corpus: corpus}}",
            "r.yaml:3: steps.dish.cook.corpus: expected a reference to an earlier step ($name), came 'corpus'",
        ),
    ],
    ids=["below", "itself", "misspelt", "of another kind", "without the dollar"],
)
def test_references_go_up(steps: str, fault: str) -> None:
    """A cycle, or a wrong kind, must be seen before an hour of training."""
    assert faults(f"steps:\n  {steps}\n") == [fault]


def test_a_broken_step_does_not_blame_those_that_use_it() -> None:
    """One typo must not make every later step a fault."""
    (fault,) = faults("steps:\n  corpus: {grow: {size: 0}}\n  dish: {cook: {corpus: $corpus}}\n")
    assert fault.startswith("r.yaml:2: steps.corpus.grow.size")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name: x\n", "steps: expected at least one"),
        ("steps:\n", "steps: expected at least one"),
        ("steps: [a]\n", "steps: expected at least one"),
        ("steps: {a: {grow: 3}}\n", "steps.a.grow: expected {option: value} pairs, came int 3"),
        ("name: My Soup\nsteps: {a: {grow: {}}}\n", "name: expected lower-case letters"),
        ("seed: 1.5\nsteps: {a: {grow: {}}}\n", "seed: expected a whole number"),
        ("seed: true\nsteps: {a: {grow: {}}}\n", "seed: expected a whole number"),
        ("seed:\nsteps: {a: {grow: {}}}\n", "seed: expected a whole number"),
    ],
)
def test_shape_of_the_document(text: str, fault: str) -> None:
    """Each wrong shape is one readable line, never an AttributeError."""
    assert fault in "\n".join(faults(text))


def test_the_name_comes_from_the_file(tmp_path: Path) -> None:
    """A name becomes a folder: `My Recipe (2).yaml` must not make an odd one."""
    path = tmp_path / "My Recipe (2).yaml"
    path.write_text("steps: {a: {grow: }}\n")
    assert load_recipe(path).name == "my-recipe-2"


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    """A folder, a missing file and a binary each say what they are."""
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    for name, words in (
        ("", "came a folder"),
        ("none.yaml", "no such recipe"),
        ("binary.yaml", "cannot be read as UTF-8"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            load_recipe(tmp_path / name)
        assert str(tmp_path) in str(caught.value)
