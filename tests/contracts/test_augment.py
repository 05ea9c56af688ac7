"""What every registered augmentation method must do; a new file under compress/corpora/augment is picked up by name."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any

import pytest

from compress.core.options import identity
from compress.corpora.augment.base import AUGMENTERS, Augmenter, Words
from compress.corpora.augment.rows import Seen, generate
from compress.corpora.checks import text_key

TEXTS = [
    "the old harbour town sleeps quietly",
    "the old harbour bridge sleeps soundly",
    "a warm town sleeps under heavy snow",
    "a warm bridge stands under heavy rain",
    "Painters love (such) narrow streets.",
    "soup",
]


class Echo:
    """A proposer whose every answer is a word turned round."""

    mask_token = "[MASK]"

    def single(self, word: str) -> bool:
        return len(word) < 6

    def fills(self, texts: Sequence[Words], places: Sequence[Sequence[int]], count: int) -> list[list[Words]]:
        return [[[text[at][::-1].strip("()."), "x"][:count] for at in p] for text, p in zip(texts, places, strict=True)]

    def neighbours(self, words: Sequence[str], count: int) -> list[Words]:
        return [[word[::-1], "y"][:count] for word in words]


def method(name: str) -> Augmenter:
    """A method with what it must be given."""
    kind = AUGMENTERS.get(name)
    return kind.model_validate({"model": "$some"} if "model" in kind.model_fields else {})


def rewritten(name: str, seed: int = 1, copies: int = 8) -> list[list[Words]]:
    """Every copy of every text."""
    return list(method(name).rewrite([text.split() for text in TEXTS], copies, random.Random(seed), Echo()))


@pytest.mark.parametrize("name", AUGMENTERS.names())
def test_the_same_seed_gives_the_same_texts(name: str) -> None:
    """Prevents a draw from elsewhere than the generator that is given (a set's order, a global one)."""
    assert rewritten(name) == rewritten(name) != rewritten(name, seed=2)


@pytest.mark.parametrize("name", AUGMENTERS.names())
def test_texts_change_and_are_never_empty(name: str) -> None:
    """Prevents a method that gives back what it got, or nothing; and a text that loses its place in the order."""
    made = rewritten(name)
    assert len(made) == len(TEXTS) and all(len(copies) <= 8 for copies in made)
    assert all(words and all(word.strip() for word in words) for copies in made for words in copies)
    for text, copies in list(zip(TEXTS, made, strict=True))[:4]:
        assert any(" ".join(words) != text for words in copies)
        assert all(set(words) & set(text.split()) or name == "joined" for words in copies if len(words) > 2)


@pytest.mark.parametrize("name", AUGMENTERS.names())
def test_the_texts_that_are_given_stay(name: str) -> None:
    """Prevents a method that writes into the training rows."""
    texts = [text.split() for text in TEXTS]
    before = copy.deepcopy(texts)
    list(method(name).rewrite(texts, 4, random.Random(1), Echo()))
    assert texts == before


@pytest.mark.parametrize("name", AUGMENTERS.names())
@pytest.mark.parametrize("columns", [("text",), ("text", "text_pair"), ("tokens",)], ids=["text", "pair", "tokens"])
def test_nothing_held_out_and_nothing_twice(name: str, columns: tuple[str, ...]) -> None:
    """Prevents texts of dev or test among the new ones, duplicates, and labels that nobody gave."""

    def row(text: str) -> dict[str, Any]:
        return {column: text.split() if column == "tokens" else text for column in columns}

    def made(held: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows = [row(text) for text in TEXTS]
        seen = Seen({"train": rows, "dev": held[::2], "test": held[1::2]})
        given: dict[str, Any] = {"columns": columns, "copies": 6, "pair": "cycle", "seed": "s", "proposer": Echo()}
        return generate(rows, method(name), seen, **given).rows

    first = made([])
    keys = [text_key(one) for one in first]
    assert first and len(set(keys)) == len(keys)
    assert not set(keys) & {text_key(row(text)) for text in TEXTS}
    assert all(set(one) == set(columns) for one in first)
    held = first[:3]
    assert made(held) == [one for one in first if one not in held]


@pytest.mark.parametrize("name", AUGMENTERS.names())
def test_says_what_it_is(name: str) -> None:
    """Prevents an undocumented method, and options that do not enter the identity of what they decide."""
    kind = AUGMENTERS.get(name)
    assert kind.__doc__ and all(field.description for field in kind.model_fields.values())
    assert set(identity(method(name))) == set(kind.model_fields)
    assert method(name).asks in ("fills", "embeddings")
