"""`--set` and `settings:`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import FaultsError, InputError
from compress.pipeline.overrides import override
from compress.pipeline.recipe import parse_recipe

RECIPE = """\
settings: {text: leek, size: 3, more: {rate: 0.25}}
steps:
  corpus: {grow: {text: "${text} soup", size: "${size}"}}
  dish: {cook: {corpus: $corpus}}
"""


def document() -> dict[str, Any]:
    return {
        "seed": 1,
        "steps": {"a": {"grow": {"losses": [{"kl": {"t": 2}}, "mse"], "tokenizer": "bpe", "none": None}}},
    }


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("seed=5", ["seed"], 5),
        ("settings.data=some/path", ["settings", "data"], "some/path"),
        ("steps.a.grow.rate=5e-5", ["steps", "a", "grow", "rate"], 5e-5),
        ("steps.a.grow.text=a=b", ["steps", "a", "grow", "text"], "a=b"),
        ("steps.a.grow.labels=[no, yes]", ["steps", "a", "grow", "labels"], ["no", "yes"]),
        ("steps.a.grow.losses[0].kl.t=4", ["steps", "a", "grow", "losses", 0, "kl", "t"], 4),
        ("steps.a.grow.losses[1]=kl", ["steps", "a", "grow", "losses", 1], "kl"),
        ("steps.a.grow.losses[1].mse.weight=2", ["steps", "a", "grow", "losses", 1, "mse", "weight"], 2),
        ("steps.a.grow.tokenizer.bpe.size=9", ["steps", "a", "grow", "tokenizer", "bpe", "size"], 9),
        ("steps.a.grow.none.x=1", ["steps", "a", "grow", "none", "x"], 1),
        ("steps.a.grow.x=", ["steps", "a", "grow", "x"], None),
    ],
)
def test_a_value_is_put_in_its_place(text: str, path: list[Any], value: Any) -> None:
    """`--set` is how a sweep or a script changes a recipe without editing it."""
    changed = document()
    override(changed, text)
    found: Any = changed
    for part in path:
        found = found[part]
    assert found == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed", "expected dotted.path=value"),
        ("=3", "expected dotted.path=value"),
        (".=3", "expected dotted.path=value"),
        ("a..b=3", "expected dotted.path=value"),
        ("a[x]=3", "expected dotted.path=value"),
        ("[0]=3", "expected dotted.path=value"),
        ("", "expected dotted.path=value"),
        ("steps.b.grow.x=1", "the recipe has no step 'b'"),
        ("steps.a.grow.losses[7].kl.t=1", "there is no item [7]; the list has 2"),
        ("steps.a.grow.losses[2]=1", "there is no item [2]"),
        ("steps.a.grow.tokenizer[0]=1", "counts the items of a list"),
        ("seed.x=1", "stands under a value that has no keys"),
        ("seed.x.y=1", "stands under a value that has no keys"),
        ("seed=[1", "the value is not valid YAML"),
    ],
)
def test_nonsense_is_refused_with_its_text(text: str, words: str) -> None:
    """A change that lands nowhere would run the unchanged recipe."""
    with pytest.raises(InputError) as caught:
        override(document(), text)
    assert words in str(caught.value)
    assert f"--set {text}" in str(caught.value)


@pytest.mark.usefixtures("fake_verbs")
def test_settings_keep_their_type_and_join_texts() -> None:
    """`size: ${size}` must stay a number, `${text} soup` a text."""
    recipe = parse_recipe(RECIPE.replace("more: {rate: 0.25}", "").replace(", }", "}"))
    assert recipe.steps["corpus"].dump()["text"] == "leek soup"
    assert recipe.steps["corpus"].dump()["size"] == 3


@pytest.mark.usefixtures("fake_verbs")
def test_a_misspelt_or_unused_setting_is_a_fault() -> None:
    """`--set settings.sise=9` would otherwise run with the old size and say nothing."""
    with pytest.raises(FaultsError) as caught:
        parse_recipe(RECIPE.replace("${text}", "${txt}"), Path("r.yaml"), ["settings.sise=9"])
    assert str(caught.value).split("\n") == [
        'r.yaml:3: steps.corpus.grow.text: ${txt} is not in settings; did you mean "text"?',
        'r.yaml:1: settings.text: is used nowhere: no option says ${text}; did you mean "txt"?',
        "r.yaml:1: settings.more: is used nowhere: no option says ${more}",
        'r.yaml:1: settings.sise: is used nowhere: no option says ${sise}; did you mean "size"?',
    ]


@pytest.mark.usefixtures("fake_verbs")
def test_a_misspelt_override_is_caught_by_the_check() -> None:
    """`--set steps.corpus.grow.sice=2` adds an option, which is then no option of grow."""
    with pytest.raises(FaultsError, match=r'not an option of grow .*did you mean "size"'):
        parse_recipe("steps: {corpus: {grow: {}}}", None, ["steps.corpus.grow.sice=2"])
    with pytest.raises(FaultsError, match="expected one verb"):
        parse_recipe("steps: {corpus: {grow: {}}}", None, ["steps.corpus.gorw.size=2"])


@pytest.mark.usefixtures("fake_verbs")
def test_settings_reach_name_and_seed() -> None:
    """A sweep over seeds sets one setting."""
    recipe = parse_recipe('settings: {s: 5}\nname: "seed-${s}"\nseed: "${s}"\nsteps: {a: {grow: {}}}\n')
    assert (recipe.name, recipe.seed) == ("seed-5", 5)
