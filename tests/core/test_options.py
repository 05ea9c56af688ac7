"""Options, choices, references and the faults that pydantic's errors become."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from compress.core.hashing import canonical_json
from compress.core.layer_maps import LayerMap
from compress.core.options import Choice, CorpusRef, ModelRef, ModelSource, Options, aside, faults_of, identity, refs
from compress.core.registry import Catalogue
from compress.core.schema import catalogue_definitions
from tests.fakes import Fruit


class Peel(Options):
    """A plain nested model."""

    depth: int = Field(1, ge=0)
    sharp: bool = aside(False, "decides nothing")


@pytest.fixture
def basket(fruits: Catalogue[Fruit]) -> type[Options]:
    """Options with a list of choices, an optional choice, a nested model and a union."""

    @fruits.register("apple")
    class Apple(Fruit):
        weight: float = Field(1.0, gt=0)
        map: LayerMap = "uniform"
        peel: Peel = Peel()
        noise: int = aside(0, "decides nothing")

        def taste(self) -> str:
            return "sour"

    @fruits.register("plum")
    class Plum(Fruit):
        sugar: float = Field(gt=0)
        inner: Annotated[Fruit, Choice(fruits)] | None = None

        def taste(self) -> str:
            return "sweet"

    class Basket(Options):
        fruits: list[Annotated[Fruit, Choice(fruits)]]
        best: Annotated[Fruit, Choice(fruits)] | None = None
        count: int | None = None
        peel: Peel = Peel()
        rate: float = 1.0

    return Basket


def said(model: type[Options], value: Any, prefix: str = "steps.s") -> list[str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return [str(fault) for fault in faults_of(caught.value, model, prefix)]


def test_misspelt_option_names_the_nearest_and_all(basket: type[Options]) -> None:
    """`weigth: 2` silently ignored would train with weight 1."""
    (text,) = said(basket, {"fruits": [{"apple": {"weigth": 2}}]})
    assert text == (
        "steps.s.fruits[0].apple.weigth: not an option of apple (it has weight, map, peel, noise); "
        'did you mean "weight"?'
    )


def test_misspelt_option_of_a_nested_model(basket: type[Options]) -> None:
    """A typo one level down must be named with that level's options, not the outer ones."""
    assert said(basket, {"fruits": [], "peel": {"dept": 2}}) == [
        'steps.s.peel.dept: not an option of this place (it has depth, sharp); did you mean "depth"?'
    ]


def test_unknown_method_names_the_nearest(basket: type[Options]) -> None:
    """An unknown loss must name the catalogue's names, not fail as a type error."""
    (text,) = said(basket, {"fruits": ["aple"]})
    assert text == """steps.s.fruits[0]: 'aple' is not a known fruit; did you mean "apple"? (known: apple, plum)"""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"apple": {}, "plum": {}}, "expected one fruit as {name: {options}}, came 2 keys"),
        ({}, "expected one fruit as {name: {options}}, came 0 keys"),
        (3, "expected one fruit as {name: {options}}, came int"),
        (["apple"], "expected one fruit as {name: {options}}, came list"),
    ],
)
def test_a_choice_is_one_name(basket: type[Options], value: Any, words: str) -> None:
    """Two methods under one item must not silently become the first."""
    assert said(basket, {"fruits": [value]}) == [f"steps.s.fruits[0]: {words}"]


def test_every_fault_at_once(basket: type[Options]) -> None:
    """One fault per run would cost the user one run per fault."""
    texts = said(
        basket,
        {
            "fruits": [{"apple": {"weight": 0}}, {"plum": {"inner": {"plum": {"suger": 1}}}}],
            "count": "3",
            "peel": {"depth": -1},
        },
    )
    assert [text.partition(": ")[0] for text in texts] == [
        "steps.s.fruits[0].apple.weight",
        "steps.s.fruits[1].plum.sugar",
        "steps.s.fruits[1].plum.inner.plum.sugar",
        "steps.s.fruits[1].plum.inner.plum.suger",
        "steps.s.count",
        "steps.s.peel.depth",
    ]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("count", True, "expected a whole number, came bool True"),
        ("count", "3", "expected a whole number, came str '3'"),
        ("count", 2.0, "expected a whole number, came float 2.0"),
        ("rate", True, "expected a number, came bool True"),
        ("rate", float("nan"), "expected a finite number, came float nan"),
        ("rate", float("inf"), "expected a finite number, came float inf"),
        ("peel", 3, "expected {option: value} pairs, came int 3"),
        ("fruits", {"apple": {}}, "expected a list [...], came dict {'apple': {}}"),
    ],
)
def test_types_are_strict(basket: type[Options], field: str, value: Any, words: str) -> None:
    """`epochs: "3"`, `epochs: true` or a NaN must not be taken for a number."""
    assert said(basket, {"fruits": [], field: value}) == [f"steps.s.{field}: {words}"]


def test_a_whole_number_is_a_number(basket: type[Options]) -> None:
    """`weight: 2` is fine where 2.0 is meant, and gives the same identity."""
    two = identity(basket.model_validate({"fruits": [{"apple": {"weight": 2}}]}))
    assert canonical_json(two) == canonical_json(
        identity(basket.model_validate({"fruits": [{"apple": {"weight": 2.0}}]}))
    )


def test_a_union_is_one_fault_without_pydantics_branches(basket: type[Options]) -> None:
    """Paths such as `map.literal['uniform',...]` are in no recipe."""
    assert said(basket, {"fruits": [{"apple": {"map": "unifrom"}}]}) == [
        "steps.s.fruits[0].apple.map: expected 'uniform', 'last', 'first', 'attention' or 'transport', "
        "or expected a list [...], "
        "came str 'unifrom'"
    ]
    assert said(basket, {"fruits": [{"apple": {"map": [[1, "a"]]}}]}) == [
        "steps.s.fruits[0].apple.map[0][1]: expected a whole number, came str 'a'"
    ]


def test_a_choice_nests_and_dumps_as_a_recipe_writes_it(basket: type[Options]) -> None:
    """What the manifest records must load again as the same options."""
    made = basket.model_validate({"fruits": ["apple", {"plum": {"sugar": 2, "inner": "apple"}}], "best": None})
    dumped = made.dump()
    assert dumped["fruits"][1]["plum"]["inner"]["apple"]["weight"] == 1.0
    assert basket.model_validate(dumped) == made


def test_identity_leaves_aside_out_at_every_depth(basket: type[Options]) -> None:
    """A progress flag that changes the key would train everything again."""
    plain = basket.model_validate({"fruits": ["apple", {"plum": {"sugar": 1, "inner": "apple"}}]})
    busy = {"apple": {"noise": 9, "peel": {"sharp": True}}}
    noisy = basket.model_validate(
        {"fruits": [busy, {"plum": {"sugar": 1, "inner": busy}}], "peel": {"sharp": True}},
    )
    assert plain != noisy
    assert identity(plain) == identity(noisy)
    assert "sharp" not in canonical_json(identity(noisy))
    assert identity(plain) != identity(basket.model_validate({"fruits": ["apple"]}))


def test_refs_are_found_at_every_depth(fruits: Catalogue[Fruit]) -> None:
    """A reference that is not seen is an input that does not cascade."""

    @fruits.register("graft")
    class Graft(Fruit):
        onto: ModelRef

        def taste(self) -> str:
            return "odd"

    class Orchard(Options):
        corpus: CorpusRef
        start: ModelSource | None = None
        models: list[ModelRef] = Field(default_factory=list)
        grafts: list[Annotated[Fruit, Choice(fruits)]] = Field(default_factory=list)
        name: str = "$not_a_reference"

    made = Orchard.model_validate(
        {"corpus": "$c", "start": "some/folder", "models": ["$a", "$b"], "grafts": [{"graft": {"onto": "$d"}}]}
    )
    found = [(path, value, mark.kind, mark.outside) for path, value, mark in refs(made)]
    assert found == [
        ("corpus", "$c", "Corpus", False),
        ("start", "some/folder", "Model", True),
        ("models[0]", "$a", "Model", False),
        ("models[1]", "$b", "Model", False),
        ("grafts[0].graft.onto", "$d", "Model", False),
    ]


def test_options_are_frozen(basket: type[Options]) -> None:
    """A step that changes its own options would run something else than its key says."""
    made = basket.model_validate({"fruits": []})
    with pytest.raises(ValidationError):
        made.rate = 2.0  # type: ignore[attr-defined]


def test_schema_of_nested_choices_resolves(
    basket: type[Options], fruits: Catalogue[Fruit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `$ref` that points nowhere makes every editor and validator fail on the whole schema."""
    monkeypatch.setattr("compress.core.schema.CATALOGUES", {"fruit": fruits})
    definitions = catalogue_definitions()
    assert definitions["fruit.plum"]["properties"]["inner"]["anyOf"][0] == {"$ref": "#/$defs/fruit"}
    assert {"const": "apple"} in definitions["fruit"]["oneOf"]
    assert {"const": "plum"} not in definitions["fruit"]["oneOf"]
    assert "fruit.apple.Peel" in definitions
