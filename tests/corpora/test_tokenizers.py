"""Tokenizers that are trained here: repeatable, reloadable, and refused when they cannot work."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from compress.core.errors import InputError
from compress.corpora.tokenizers.base import TOKENIZERS
from compress.corpora.tokenizers.byte_bpe import ByteBPE
from compress.corpora.tokenizers.wordpiece import WordPiece

NAMES = TOKENIZERS.names()


def _texts(count: int = 300) -> list[str]:
    draw = random.Random(5)
    words = ["".join(draw.choice("abcdefghijklmnoprstuvé") for _ in range(draw.randint(1, 6))) for _ in range(200)]
    return [" ".join(draw.choice(words) for _ in range(8)) + "!" for _ in range(count)]


@pytest.mark.parametrize("name", NAMES)
def test_saved_tokenizer_reads_every_text_the_same(name: str, tmp_path: Path) -> None:
    """A vocabulary that AutoTokenizer reads otherwise gives a student other ids than its teacher."""
    tokenizer = TOKENIZERS.get(name)(size=400).train(_texts(), 40)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert type(again) is type(tokenizer)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    for pair in (("Hello, ab bé!", None), ("ab", "cd ☃ \U0001f600"), ("", None)):
        assert again(*pair) == tokenizer(*pair)
    assert again.model_max_length == 40
    assert len({again.pad_token_id, again.unk_token_id, again.mask_token_id, again.cls_token_id}) == 4


@pytest.mark.parametrize("name", NAMES)
def test_the_same_texts_give_the_same_ids(name: str) -> None:
    """The trainer numbers some pieces in the order of a hash map; then a resumed run would read other ids."""
    trained = [TOKENIZERS.get(name)(size=400).train(_texts(), 40).backend_tokenizer.to_str() for _ in range(4)]
    assert len(set(trained)) == 1


def test_wordpiece_knows_every_character_of_its_corpus() -> None:
    """A character that occurs only inside words must have its ## form, or those words are unknown."""
    tokenizer = WordPiece(size=100, min_frequency=50).train(["xq" * 3, *_texts()], 40)
    assert tokenizer.unk_token_id not in tokenizer("qxqxqx abcde")["input_ids"]


def test_wordpiece_keeps_the_frequent_characters() -> None:
    """A corpus with thousands of characters must keep the frequent ones, not the first of a hash map."""
    texts = [*_texts(), "zw"]
    tokenizer = WordPiece(size=400, alphabet=23).train(texts, 40)
    assert "z" not in tokenizer.get_vocab() and {"a", "!"} <= set(tokenizer.get_vocab())


def test_byte_bpe_has_no_unknown_text() -> None:
    """Byte-level pieces cover every text, and a word is the same first and later (`tag` gives words alone)."""
    tokenizer = ByteBPE(size=300).train(_texts(), 40)
    ids = tokenizer("日本 ☃ \U0001f600")["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer("ab ab")["input_ids"] == tokenizer(["ab", "ab"], is_split_into_words=True)["input_ids"]


@pytest.mark.parametrize(("name", "size"), [("wordpiece", 40), ("byte_bpe", 200)])
def test_a_vocabulary_smaller_than_its_alphabet_is_refused(name: str, size: int) -> None:
    """Most words would become unknown and the teacher would learn from noise."""
    with pytest.raises(InputError, match=r"size 40 cannot hold|size 200 cannot hold"):
        TOKENIZERS.get(name)(size=size).train(_texts(), 40)


@pytest.mark.parametrize("name", NAMES)
def test_too_little_text_is_refused(name: str) -> None:
    """A vocabulary of three words knows nothing of the text it will meet."""
    with pytest.raises(InputError, match="different words in 1 texts"):
        TOKENIZERS.get(name)(size=400).train(["one two three"], 40)
