"""Spans that two tokenizers share, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from compress.core.errors import InputError
from compress.distill.readings import Recorder
from compress.distill.spans import coverage_of, shared_spans
from tests.distill.tokens import byte_pieces, groups, reading, word_pieces

START, END = ("[CLS]", "<s>"), ("[SEP]", "</s>")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Case and accents are folded on one side only; the space mark before "c" has no characters.
        ("Playing café", [("play", "ĠPlay"), ("##ing", "ing"), ("cafe", "c a f Ã ©")]),
        ("don't stop!", [("don", "d o n"), ("' t", "'t"), ("stop", "s t o p"), ("!", "!")]),
        ("a 😀 b", [("a", "Ġa"), ("[UNK]", "ð Ł ĺ Ģ"), ("b", "b")]),
        ("a  b", [("a", "Ġa"), ("b", "b")]),
        # The accent of its own is stripped by one side, and is no span; the letter before it is.
        ("e\u0301 a", [("e", "e"), ("a", "Ġa")]),
        # Neither side's border lies inside the other's token: one span for all.
        ("unplay", [("un", "u n"), ("##play", "play")]),
        ("the world", [("the", "Ġthe"), ("world", "w o r l d")]),
    ],
)
def test_spans_by_hand(text: str, expected: list[tuple[str, str]]) -> None:
    """Prevents spans shifted by the space of byte-level tokens, by accents, or by characters of several bytes."""
    assert groups(word_pieces(), byte_pieces(), text) == [START, *expected, END]


def test_one_span_where_borders_cross() -> None:
    """Prevents a token that is split between two spans: `abc|d` against `ab|cd` is one span."""
    one = word_pieces(["abc", "##d"])
    two = word_pieces(["ab", "##cd"])
    assert groups(one, two, "abcd") == [("[CLS]", "[CLS]"), ("abc ##d", "ab ##cd"), ("[SEP]", "[SEP]")]


def test_pairs_and_special_tokens_by_role() -> None:
    """Prevents a second text that is compared with the first, and the two separators of RoBERTa off by one."""
    assert groups(word_pieces(), byte_pieces(), "a", "the") == [
        START, ("a", "Ġa"), ("[SEP]", "</s> </s>"), ("the", "Ġthe"), END,
    ]  # fmt: skip


def test_words_given_one_by_one() -> None:
    """Prevents offsets that start anew in every word from joining different words."""
    mine, theirs = word_pieces(), byte_pieces()
    words = ["Playing", "a", "café", "a"]
    assert groups(mine, theirs, words) == [
        START, ("play", "ĠPlay"), ("##ing", "ing"), ("a", "Ġa"), ("cafe", "c a f Ã ©"), ("a", "Ġa"), END,
    ]  # fmt: skip
    assert reading(theirs, words).words == [-1, 0, 0, 1, 2, 2, 2, 2, 2, 2, 3, -1]


def test_truncation_leaves_the_rest_out() -> None:
    """Prevents spans of tokens that one side never saw."""
    cut = groups(word_pieces(), byte_pieces(), "a cafe was lovely", truncation=True, max_length=4)
    assert cut == [START, ("a", "Ġa"), ("cafe", "c a f e"), END]


@pytest.mark.parametrize("trim", [True, False])
@pytest.mark.parametrize("prefix", [True, False])
def test_offsets_with_and_without_the_space(prefix: bool, trim: bool) -> None:
    """Prevents tokenizers that count the space before a word into it from touching the word before."""
    from tokenizers.processors import RobertaProcessing

    theirs = byte_pieces(prefix=prefix)
    theirs.backend_tokenizer.post_processor = RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=trim, add_prefix_space=prefix
    )
    assert groups(word_pieces(), theirs, "b playing") == [
        START, ("b", "Ġ b" if prefix and not trim else "b"), ("play", "Ġplay"), ("##ing", "ing"), END,
    ]  # fmt: skip


@pytest.mark.parametrize("tokenizer", [word_pieces(), byte_pieces(), byte_pieces(prefix=False)])
@pytest.mark.parametrize("text", ["Playing  café 😀😀 \t a", " the\u0000 e\u0301 ß ﬁ", "", "a\n\nb  "])
def test_a_tokenizer_shares_every_token_with_itself(tokenizer: Any, text: str) -> None:
    """Prevents an alignment that loses or merges tokens where there is nothing to align."""
    for pair in (None, "a b"):
        one = reading(tokenizer, text, pair)
        spans = shared_spans(one, reading(tokenizer, text, pair))
        assert spans.mine == spans.theirs == list(range(len(one.ids)))


def test_coverage_by_hand() -> None:
    """Prevents unknown tokens that count as understood: `xyz` is one, and 3 of the 7 characters."""
    both = (reading(word_pieces(), "cafe xyz"), reading(byte_pieces(), "cafe xyz"))
    found = coverage_of([both])
    assert found.characters == pytest.approx(4 / 7, abs=1e-4)
    assert (found.student_tokens, found.rows, found.spans) == (1.0, 1, 4.0)
    assert found.teacher_tokens == pytest.approx(7 / 9, abs=1e-4)  # the two space marks stand for no character


def test_what_truncation_cut_off_is_not_missing() -> None:
    """Prevents a short student from looking like one that knows no words."""
    mine = reading(word_pieces(), "a cafe was lovely", truncation=True, max_length=4)
    assert coverage_of([(mine, reading(byte_pieces(), "a cafe was lovely"))]).characters == 1.0


def test_slow_tokenizers_are_refused() -> None:
    """Prevents a crash deep inside for a tokenizer that tells no offsets."""

    class Slow:
        is_fast = False

    with pytest.raises(InputError, match="only fast"):
        Recorder(Slow())
