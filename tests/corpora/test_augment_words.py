"""Replacement of words: what may be replaced, word vectors, and what a model proposes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from compress.core.errors import InputError
from compress.corpora.augment.base import Words
from compress.corpora.augment.neighbours import Neighbours
from compress.corpora.augment.replace import Replace
from compress.corpora.augment.vectors import WordVectors, read_vectors
from compress.corpora.augment.wordforms import Replaceable, dressed, parts


def test_punctuation_is_no_part_of_a_word() -> None:
    """Prevents quotes, commas and capitals that get lost with the word they cling to."""
    assert parts('("well-made.")') == ('("', "well-made", '.")') and parts("...") == ("...", "", "")
    assert dressed('"Film,', "movie") == '"Movie,' and dressed("FILM", "movie") == "MOVIE"
    assert dressed("A.", "one") == "One." and dressed("film", "Paris") == "Paris"


def test_numbers_marks_and_function_words_are_kept() -> None:
    """Prevents `not` from becoming `very`, 1999 from becoming 2004, and a special token from becoming a word."""
    words = Replaceable(None)
    kept = ["not", "The", "n't", "1999", "b-12", "...", "[MASK]", "<unk>", "don't"]
    assert [words.core(word) for word in kept] == [""] * len(kept)
    assert [words.core(word) for word in ("film,", "well-made", "Été")] == ["film", "well-made", "Été"]
    assert Replaceable(["film"]).core("Film") == "" and Replaceable([]).core("the") == "the"


def table() -> WordVectors:
    """Four words on two axes about the mean (1, 1): warm and hot point one way, cold and dry the others."""
    return WordVectors(["warm", "hot", "cold", "dry"], np.array([[3.0, 1.0], [2.8, 1.4], [-1.0, 1.2], [-0.8, 0.4]]))


def test_nearest_words_by_the_cosine_about_the_mean() -> None:
    """Prevents neighbours by plain cosine, which what all share makes alike, and a word as its own neighbour."""
    found = table()
    vectors = [found.vector(word) for word in ("warm", "WARM", "damp")]
    assert found.nearest(["warm", "Warm", "damp"], vectors, 2) == [["hot", "dry"], ["hot", "dry"], []]
    assert found.nearest(["new"], [found.centred(np.array([3.0, 1.0]))], 1) == [["warm"]]
    mean = np.array([1.0, 1.0])
    a, b = np.array([3.0, 1.0]) - mean, np.array([2.8, 1.4]) - mean
    near = found.vector("warm") @ found.vector("hot")  # type: ignore[operator]
    assert near == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-5)


def test_word_vectors_from_a_file(tmp_path: Path) -> None:
    """Prevents a header that is taken for a word, marks among the candidates, and rows of another length."""
    path = tmp_path / "vectors.txt"
    body = "warm 3 1\nhot 2.8 1.4\n, 9 9\ncold -1 1.2\ndry -0.8 0.4\n"
    for text in (body, f"5 2\n{body}"):
        path.write_text(text)
        assert read_vectors(path).words == ["warm", "hot", "cold", "dry"]
    for text, message in (
        ("warm 3 1\nhot 2\n", "vectors.txt:2: expected a word and 2 finite numbers, came 1"),
        ("warm 3 x\n", "vectors.txt:1: expected a word and numbers, came 'warm 3 x'"),
        ("warm 3 nan\n", "expected a word and at least 2 finite numbers"),
        ("5 2\n", "holds 0 words"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_vectors(path)
    path.write_bytes(b"warm \xff\xfe")
    with pytest.raises(InputError, match="cannot be read as word vectors"):
        read_vectors(path)


class Book:
    """A proposer that answers from two lists and remembers what it was asked."""

    mask_token = "[MASK]"

    def __init__(self, said: dict[str, Words], near: dict[str, Words]) -> None:
        self.said, self.near = said, near
        self.asked: list[tuple[str, int]] = []

    def single(self, word: str) -> bool:
        return word in self.said

    def fills(self, texts: Sequence[Words], places: Sequence[Sequence[int]], count: int) -> list[list[Words]]:
        self.asked += [(text[at], at) for text, chosen in zip(texts, places, strict=True) for at in chosen]
        return [[self.said[text[at].strip(".")][:count] for at in p] for text, p in zip(texts, places, strict=True)]

    def neighbours(self, words: Sequence[str], count: int) -> list[Words]:
        return [self.near.get(word, [])[:count] for word in words]


BOOK = {"film": ["movie", "picture"], "good": ["fine", "great", "bad"]}
NEAR = {"heartwarming": ["touching"], "film": ["movie"]}


def test_masked_words_take_candidates_and_others_take_neighbours() -> None:
    """Prevents algorithm 1 with its branches swapped: one token asks the language model, several ask the vectors."""
    book = Book(BOOK, NEAR)
    text = ["the", "heartwarming", "film", "is", "good."]
    made = [
        new
        for copies in Replace(model="m", p_t=1, candidates=2).rewrite([text], 200, random.Random(1), book)
        for new in copies
    ]
    assert Counter(map(tuple, made)).keys() == {
        ("the", "touching", film, "is", good) for film in ("movie", "picture") for good in ("fine.", "great.")
    }
    assert book.asked == [("film", 2), ("good.", 4)]


def test_a_word_is_replaced_at_its_rate() -> None:
    """Prevents a p_t that is read and not used; and a place that no copy draws is not paid for."""
    method = Replace(model="m", p_t=0.3)
    made = list(method.rewrite([["film"]] * 40, 100, random.Random(1), Book(BOOK, NEAR)))
    changed = sum(new != ["film"] for copies in made for new in copies)
    assert changed / 4000 == pytest.approx(0.3, abs=0.03)
    book = Book(BOOK, NEAR)
    list(method.rewrite([["film"]] * 400, 1, random.Random(1), book))
    assert 80 < len(book.asked) < 160


def test_neighbours_need_no_language_model() -> None:
    """Prevents a method that asks a masked-LM head for what an embedding table can say."""
    book = Book({}, NEAR)
    (made,) = Neighbours(model="m", p_t=1).rewrite([["Film", "is", "film", "good"]], 1, random.Random(1), book)
    assert made == [["Film", "is", "movie", "good"]] and not book.asked


def test_neighbours_from_a_file(tmp_path: Path) -> None:
    """Prevents a `vectors:` that is read and not used, by either method."""
    path = tmp_path / "v.txt"
    path.write_text("warm 3 1\nhot 2.8 1.4\ncold -1 1.2\ndry -0.8 0.4\n")
    options: dict[str, Any] = {"vectors": str(path), "p_t": 1.0, "candidates": 1}
    for method, book in (
        (Neighbours.model_validate(options), None),
        (Replace.model_validate({"model": "m", **options}), Book({}, {})),
    ):
        (made,) = method.rewrite([["warm", "soup"]], 1, random.Random(1), book)
        assert made == [["hot", "soup"]] and method.files() == [path]


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (Neighbours, {}, "came neither"),
        (Neighbours, {"model": "m", "vectors": "v"}, "came both"),
        (Neighbours, {"model": "m", "candidates": 0}, "greater than or equal to 1"),
        (Replace, {"model": "m", "candidates": 0}, "greater than or equal to 1"),
        (Replace, {"model": "m", "p_t": 1.2}, "less than or equal to 1"),
        (Replace, {"model": "m", "p_t": 0.0}, "greater than 0"),
        (Replace, {}, "Field required"),
    ],
)
def test_options_that_cannot_work(method: Any, options: dict[str, Any], message: str) -> None:
    """Prevents K of 0, chances that are none, and a table that is not named."""
    with pytest.raises(ValidationError, match=message):
        method.model_validate(options)


def test_a_method_without_its_model_says_so() -> None:
    """Prevents an AttributeError when a method is used as a plain import."""
    with pytest.raises(InputError, match="replace asks a model"):
        next(Replace(model="m").rewrite([["a"]], 1, random.Random(1)))
