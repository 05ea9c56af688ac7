"""The generated reviews: disjoint, balanced, held out, and out of reach of a bag of words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import pytest
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from compress.corpora.reviews import lexicon
from compress.corpora.reviews.lexicon import Words
from compress.corpora.reviews.templates import SLICES
from compress.corpora.sources.reviews import Reviews

Splits = Mapping[str, Dataset]


@pytest.fixture(scope="module")
def splits() -> Splits:
    return Reviews(rows=6000, unlabeled=300, seed=5).splits(1)


def word_lists() -> list[Words]:
    named = [value for value in vars(lexicon).values() if isinstance(value, Words)]
    return [*named, *lexicon.PRODUCTS.values(), *lexicon.ASPECTS.values()]


def held(split: str) -> set[str]:
    """The held-out words of a split that no other list shares."""
    return {word for listed in word_lists() for word in listed.held.get(split, ())}


def text_of(rows: Dataset) -> str:
    """All words of a split in lower case, one space around each."""
    return f" {' '.join(re.findall(r'[a-z]+', ' '.join(rows['text']).casefold()))} "


def has(text: str, word: str) -> bool:
    return f" {word.casefold()} " in text


def test_the_same_seed_gives_the_same_rows(splits: Splits) -> None:
    """A demo whose numbers nobody can repeat."""
    again = Reviews(rows=6000, unlabeled=300, seed=5).splits(2)
    assert {name: rows.to_list() for name, rows in again.items()} == {n: rows.to_list() for n, rows in splits.items()}
    other = Reviews(rows=200).splits(1)["train"]["text"][:]
    assert other != Reviews(rows=200).splits(2)["train"]["text"][:]


def test_sizes_balance_and_no_text_twice(splits: Splits) -> None:
    """A label that a slice gives away, or a test sentence that train has too."""
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 4800,
        "dev": 600,
        "test": 600,
        "unlabeled": 300,
    }
    texts = [text.casefold() for rows in splits.values() for text in rows["text"]]
    assert len(set(texts)) == len(texts)
    for split in ("train", "dev", "test"):
        cells = Counter(zip(splits[split]["slice"], splits[split]["label"], strict=True))
        assert set(cells) == {(name, label) for name in SLICES for label in ("negative", "positive")}
        assert all(abs(cells[name, "negative"] - cells[name, "positive"]) <= 1 for name in SLICES)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_held_out_words_come_in_one_split_only(splits: Splits, split: str) -> None:
    """Held-out vocabulary that train has seen in another list."""
    words = held(split)
    assert len(words) >= 30
    for other, rows in splits.items():
        text = text_of(rows)
        found = {word for word in words if has(text, word)}
        assert (len(found) > 0.7 * len(words)) if other == split else not found, (other, found)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_held_out_constructions_come_in_one_split_only(splits: Splits, split: str) -> None:
    """A held-out template that says the same words as one of train."""
    for name, templates in SLICES.items():
        assert any(template.split == split for template in templates) or name == "plain"
        shared = {template.text for template in templates if not template.split}
        assert not shared & {template.text for template in templates if template.split}
    telling = {"dev": "we cannot deny that", "test": "you cannot deny that"}
    for other, rows in splits.items():
        assert (telling[split] in text_of(rows)) == (other == split)


def test_held_out_polarity_words_build_on_words_of_train(splits: Splits) -> None:
    """A held-out word whose sentiment nothing in train tells."""
    text = text_of(splits["train"])
    for negative, positive in lexicon.POLAR.values():
        for words in (negative, positive):
            for word in {word for held in words.held.values() for word in held}:
                stem = re.sub(r"(fully|ful|less|ly|y)$", "", word)
                assert re.search(rf"\b{stem[:5]}", text), word


def test_a_bag_of_words_falls_far_short(splits: Splits) -> None:
    """A corpus that a linear model solves, so that a transformer teaches it nothing."""
    vectors = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
    train = vectors.fit_transform(splits["train"]["text"])
    labels, truth = splits["train"]["label"][:], splits["test"]["label"][:]
    test = vectors.transform(splits["test"]["text"])
    best = max(LogisticRegression(C=c, max_iter=300).fit(train, labels).score(test, truth) for c in (1.0, 10.0))
    assert 0.5 < best < 0.78


def test_a_missing_column_and_too_few_rows() -> None:
    """A label column that the generator does not have found after it has run."""
    assert "no column 'lable'; did you mean \"label\"?" in Reviews().preflight({"label": "lable"})[0].message
    with pytest.raises(ValueError, match="greater than or equal to 200"):
        Reviews(rows=10)
