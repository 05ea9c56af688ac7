"""YAML as recipes mean it."""

from __future__ import annotations

from typing import Any

import pytest

from compress.core.errors import InputError
from compress.pipeline.yaml_text import read_document, read_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-5", 5e-5),
        ("1e3", 1000.0),
        ("1.5E+2", 150.0),
        (".5", 0.5),
        ("-3", -3),
        ("010", 10),
        ("09", 9),
        ("0x1f", 31),
        ("0o17", 15),
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("1:30", "1:30"),
        ("2024-01-02", "2024-01-02"),
        ("1_000", "1_000"),
        ("~", None),
        ("", None),
        ("null", None),
        ("'5'", "5"),
        ("$corpus", "$corpus"),
        ("[no, 5e-5, a]", ["no", 5e-5, "a"]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    """In YAML 1.1 `learning_rate: 5e-5` is a text and the label `no` is false."""
    found = read_value(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_a_number() -> None:
    """`.nan` and `.inf` reach the options, which refuse them by name."""
    assert read_value(".inf") == float("inf")
    assert read_value(".nan") != read_value(".nan")


def test_lines_of_every_place() -> None:
    """A fault without its line sends the user searching."""
    _, lines = read_document("a: 1\nb:\n  c:\n    - x\n    - d: 2\n", "r.yaml")
    assert lines == {"": 1, "a": 1, "b": 2, "b.c": 3, "b.c[0]": 4, "b.c[1]": 5, "b.c[1].d": 5}


def test_anchors_and_merges_work() -> None:
    """A recipe may say shared options once."""
    document, _ = read_document("base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\n", "r.yaml")
    assert document["use"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "r.yaml:3: the key 'a' stands twice"),
        ("a:\n  b: 1\n  b: 2\n", "r.yaml:3: the key 'b' stands twice"),
        ("a:\n\tb: 1\n", "r.yaml:2: not valid YAML"),
        ("a: [1, 2\n", "r.yaml:2: not valid YAML"),
        ("a: {b: 1\nc: 2\n", "not valid YAML"),
        ("a: 'open\n", "not valid YAML"),
        ("", "came an empty file"),
        ("# nothing\n", "came an empty file"),
        ("- a\n", "expected a recipe with `steps:`, came list"),
        ("just text\n", "came str"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ("{[1, 2]: 3}\n", "a key must be a plain name"),
        ("? {a: b}\n: 1\n", "a key must be a plain name"),
        ("a: &x [*x]\n", "an alias stands inside what it refers to"),
        ("a: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("a: *nothing\n", "not valid YAML"),
        ("a: \x00\n", "not valid YAML"),
        ("a: " + "[" * 1500, "nested too deeply"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    """Each is one message with file and line; none a traceback, and the later of two equal keys does not win."""
    with pytest.raises(InputError) as caught:
        read_document(text, "r.yaml")
    assert words in str(caught.value)
    assert str(caught.value).startswith("r.yaml")
