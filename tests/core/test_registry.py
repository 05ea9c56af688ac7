"""Catalogues: names, lookups, loading, entry points."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from compress.core.errors import InputError
from compress.core.registry import CATALOGUES, Catalogue, catalogue
from tests.fakes import Fruit


def test_a_method_is_found_under_its_name(fruits: Catalogue[Fruit]) -> None:
    """The name in the recipe is the only door."""

    @fruits.register("apple")
    class Apple(Fruit):
        def taste(self) -> str:
            return "sour"

    assert fruits.get("apple") is Apple
    assert fruits.names() == ["apple"]
    assert Apple().registered_name == "apple"


def test_a_name_is_taken_once(fruits: Catalogue[Fruit]) -> None:
    """Two methods under one name, of the same class name or not, would make the import order decide."""

    def make(module: str) -> type[Fruit]:
        return type("Apple", (Fruit,), {"__module__": module, "taste": lambda self: "sour"})

    fruits.register("apple")(make("one"))
    with pytest.raises(ValueError, match="registered twice"):
        fruits.register("apple")(make("two"))


def test_the_same_class_may_register_again(fruits: Catalogue[Fruit]) -> None:
    """A module that is imported twice (reload, pytest) is not a clash."""
    for _ in range(2):

        @fruits.register("apple")
        class Apple(Fruit):
            def taste(self) -> str:
                return "sour"

    assert fruits.names() == ["apple"]


def test_unknown_names_say_what_is_known(fruits: Catalogue[Fruit]) -> None:
    """`KeyError: 'aple'` tells nobody what to write."""

    @fruits.register("apple")
    class Apple(Fruit):
        def taste(self) -> str:
            return "sour"

    with pytest.raises(InputError, match=r"'aple' is not a known fruit; did you mean \"apple\"\? \(known: apple\)"):
        fruits.get("aple")
    with pytest.raises(InputError, match=r"'fruits' is not a kind of method; did you mean \"fruit\"\?"):
        catalogue("fruits")
    assert catalogue("fruit") is fruits  # type: ignore[comparison-overlap]


def test_packages_are_imported_on_first_use_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`import compress` would load every method of every catalogue, and torch with them."""
    package = tmp_path / "orchard_for_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "pear.py").write_text(
        "from compress.core.registry import CATALOGUES\n"
        "from tests.fakes import Fruit\n"
        "@CATALOGUES['late'].register('pear')\n"
        "class Pear(Fruit):\n    def taste(self): return 'sweet'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    made: Catalogue[Fruit] = Catalogue("late", "lates", ("orchard_for_test",))
    try:
        assert "orchard_for_test" not in sys.modules
        assert made.names() == ["pear"]
    finally:
        del CATALOGUES["late"]


def test_another_distribution_adds_a_method(fruits: Catalogue[Fruit], monkeypatch: pytest.MonkeyPatch) -> None:
    """A method outside this repository must not need a fork of it."""

    class Entry:
        def load(self) -> None:
            class Fig(Fruit):
                def taste(self) -> str:
                    return "honey"

            fruits.register("fig")(Fig)

    asked: list[str] = []

    def entry_points(group: str) -> list[Entry]:
        asked.append(group)
        return [Entry()]

    monkeypatch.setattr("compress.core.registry.importlib.metadata.entry_points", entry_points)
    assert fruits.names() == ["fig"]
    assert fruits.names() == ["fig"]
    assert asked == ["stillroom.fruits"]
