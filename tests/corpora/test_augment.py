"""Augmentation methods and the rows made of what they give."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from compress.core.errors import InputError
from compress.corpora.augment.base import Words
from compress.corpora.augment.contexts import Contexts
from compress.corpora.augment.joined import Joined
from compress.corpora.augment.ngrams import NGrams
from compress.corpora.augment.rows import Generated, Seen, generate, text_columns

LETTERS = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]


def copies_of(method: Any, texts: list[Words], copies: int = 200, **given: Any) -> list[Words]:
    """Every new text of every text."""
    return [new for made in method.rewrite(texts, copies, random.Random(1), **given) for new in made]


def test_masking_drops_words_at_its_rate_and_keeps_the_order() -> None:
    """Prevents a p_mask that is read and not used, and words that change places."""
    made = copies_of(NGrams(p_mask=0.3, p_swap=0, p_ng=0), [LETTERS], 2000)
    assert all(words == [word for word in LETTERS if word in words] for words in made)
    assert sum(map(len, made)) / (2000 * 10) == pytest.approx(0.7, abs=0.02)


def test_an_n_gram_stands_in_the_text_and_has_its_size() -> None:
    """Prevents n-grams that are longer than asked, never of some size, or not from one place."""
    made = copies_of(NGrams(p_mask=0, p_swap=0, p_ng=1, shortest=2, longest=4), [LETTERS], 600)
    text = " ".join(LETTERS)
    assert all(" ".join(words) in text for words in made)
    sizes = Counter(map(len, made))
    assert set(sizes) == {2, 3, 4} and min(sizes.values()) > 150
    assert {words[0] for words in made} == set(LETTERS[:-1]) and {words[-1] for words in made} == set(LETTERS[1:])


def test_an_n_gram_chance_is_per_copy() -> None:
    """Prevents p_ng from cutting every copy, or none."""
    made = copies_of(NGrams(p_mask=0, p_swap=0, p_ng=0.25), [LETTERS], 2000)
    assert sum(words != LETTERS for words in made) / 2000 == pytest.approx(0.25, abs=0.03)


TALK = [text.split() for text in ("the red cat sat", "the red dog sat", "a cat ran", "a dog ran", "my house stood")]


def test_a_substitute_shares_two_places() -> None:
    """Prevents swaps for words that never stood in such places: cat and dog share two, house shares none."""
    contexts, chance = Contexts(TALK), random.Random(1).random
    assert {contexts.substitute("cat", chance) for _ in range(20)} == {"dog"}
    assert contexts.substitute("house", chance) == "house"


def test_a_nearer_word_is_drawn_more_often() -> None:
    """Prevents even draws among substitutes: a word that shares more places is the better one.

    x stands in places 1 2 3 4, y in 1 2 3 4 too, z in 1 2 and 5. Places 1 and 2 hold three words, 3 and 4 two, 5 one.
    """
    texts = [f"l{n} {word} r{n}".split() for n, words in enumerate(("xyz", "xyz", "xy", "xy", "z")) for word in words]
    contexts, chance = Contexts(texts), random.Random(1).random
    drawn = Counter(contexts.substitute("x", chance) for _ in range(4000))
    # Weights: 1 / log2(4) = 0.5 (twice) and 1 / log2(3) = 0.6309 (twice); the place of one word counts nothing.
    long, short = (2 * 0.5**2 + 2 * 0.6309**2) ** 0.5, (2 * 0.5**2) ** 0.5
    nearness = {"y": 1.0, "z": 2 * 0.5**2 / (long * short)}
    assert drawn["y"] / 4000 == pytest.approx(nearness["y"] / sum(nearness.values()), abs=0.03)
    assert set(drawn) == {"y", "z"}


def test_swapped_words_keep_their_place() -> None:
    """Prevents a swap that adds, drops or moves words."""
    texts = [text.split() for text in ("the cat sat", "the dog sat", "a cat ate", "a dog ate", "my house stood")]
    made = copies_of(NGrams(p_mask=0, p_swap=1, p_ng=0), texts, 3)
    assert made[:3] == [["a", "dog", "ate"]] * 3
    assert made[-1] == ["my", "house", "stood"]


def test_joined_texts_are_two_pieces() -> None:
    """Prevents a cut inside a word, a lost half, or pieces of one side only."""
    texts = [["a1", "a2", "a3"], ["b1", "b2", "b3"]]
    whole = {" ".join(words) for words in copies_of(Joined(whole=1, between=", and"), texts)}
    assert whole == {f"{x[0]}1 {x[0]}2 {x[0]}3 , and {y[0]}1 {y[0]}2 {y[0]}3" for x in "ab" for y in "ab"}
    cut = {" ".join(words) for words in copies_of(Joined(whole=0), texts, 2000)}
    starts, ends = ("1", "1 2", "1 2 3"), ("1 2 3", "2 3", "3")
    assert cut == {
        " ".join([*(f"{x}{n}" for n in start.split()), *(f"{y}{n}" for n in end.split())])
        for x in "ab" for y in "ab" for start in starts for end in ends
    }  # fmt: skip
    assert max(len(words) for words in copies_of(Joined(whole=1, longest=4), texts)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p_mask": 0.7, "p_swap": 0.5}, "at most 1 together, came 1.2"),
        ({"p_mask": -0.1}, "greater than or equal to 0"),
        ({"p_ng": 1.5}, "less than or equal to 1"),
        ({"p_mask": 0.0, "p_swap": 0.0, "p_ng": 0.0}, "nothing would change"),
        ({"shortest": 6}, "more than longest"),
        ({"masked": "token"}, "needs `tokenizer:`"),
        ({"tokenizer": "$teacher"}, "with `masked: token` only"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], message: str) -> None:
    """Prevents probabilities that are none, and options that nothing reads."""
    with pytest.raises(ValidationError, match=message):
        NGrams.model_validate(options)


def made(rows: list[dict[str, Any]], method: Any, dev: Any = (), **given: Any) -> Generated:
    """What a method gives of rows."""
    options = {"copies": 30, "pair": "cycle", "seed": "1", **given}
    return generate(rows, method, Seen({"train": rows, "dev": dev}), columns=text_columns(rows[0], "x"), **options)


def test_no_text_comes_twice_or_is_known() -> None:
    """Prevents duplicates of train, of each other, and of what dev holds (whatever its case)."""
    rows = [{"text": "one two three", "label": 0}, {"text": "one two", "label": 1}]
    found = made(rows, NGrams(p_mask=0, p_swap=0, p_ng=1, longest=3), [{"text": "Two  THREE", "label": 0}])
    assert sorted(row["text"] for row in found.rows) == ["one", "three", "two"]
    assert found.made == 60 == len(found.rows) + found.known + found.repeated + found.held_out
    assert found.known and found.repeated and found.held_out
    assert found.counts()["dropped"] == pytest.approx(57 / 60)
    assert found.examples[0][0] in ("one two three", "one two")


def test_pairs_take_turns() -> None:
    """Prevents pairs of which one side is never rewritten, or whose kept side is lost: first, second, both."""
    rows = [{"text": "a b c d e f", "text_pair": "u v w x y z", "score": 1.0}]
    drop = NGrams(p_mask=0.5, p_swap=0, p_ng=0)
    sides = [
        (row["text"] != rows[0]["text"], row["text_pair"] != rows[0]["text_pair"])
        for row in made(rows, drop, copies=3, seed="2").rows
    ]
    assert sides == [(True, False), (False, True), (True, True)]
    assert {row["text_pair"] for row in made(rows, drop, pair="first").rows} == {"u v w x y z"}
    assert {row["text"] for row in made(rows, drop, pair="second").rows} == {"a b c d e f"}
    assert set(made(rows, drop).rows[0]) == {"text", "text_pair"}


def test_tagged_rows_stay_lists_of_words() -> None:
    """Prevents tokens that become one text, and tags that no longer fit their words."""
    found = made([{"tokens": ["New", "York", "is", "big"], "tags": [1, 2, 0, 0]}], NGrams())
    assert all(set(row) == {"tokens"} and isinstance(row["tokens"], list) for row in found.rows) and found.rows


def test_rows_that_point_into_their_text_are_refused() -> None:
    """Prevents an answer whose start and end point into a text that has changed."""
    with pytest.raises(InputError, match="task answer cannot be augmented"):
        text_columns({"text": "who", "context": "Anna", "starts": [0]}, "answer")


def test_a_missing_second_text_stays_missing() -> None:
    """Prevents a crash, or a made-up second text, where only some rows are pairs."""
    rows = [{"text": "a b c d e f", "text_pair": None}, {"text": "g h i j k l", "text_pair": "u v w x y z"}]
    found = made(rows, NGrams(p_mask=0.5, p_swap=0, p_ng=0), copies=9)
    assert {row["text_pair"] is None for row in found.rows} == {True, False}
    assert all(row["text_pair"] is None for row in found.rows if set(row["text"].split()) <= set("abcdef"))
