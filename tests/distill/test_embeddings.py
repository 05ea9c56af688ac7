"""A teacher's embeddings under another vocabulary, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from compress.core.errors import InputError
from compress.distill.embeddings import check_padding, with_vocabulary
from compress.distill.spelling import pieces_of, same_tokens
from tests.distill.tokens import byte_pieces, reader, word_pieces


def spelt(mine: Any, theirs: Any, token: str) -> list[str]:
    """What a token of one vocabulary is in another."""
    number = mine.get_vocab()[token]
    found: list[str] = theirs.convert_ids_to_tokens(pieces_of(mine, theirs)[number])
    return found


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("Ġplay", ["play"]),  # a word's beginning
        ("ing", ["##ing"]),  # what goes on in a word
        ("ĠPlay", ["play"]),  # folded as the other tokenizer folds
        ("play", ["##play"]),
        ("'t", ["'", "t"]),  # punctuation is a word of its own
        ("!", ["!"]),
        ("Ã", []),  # half a character
        ("<s>", ["[CLS]"]),
        ("</s>", ["[SEP]"]),
        ("<mask>", ["[MASK]"]),
        ("<pad>", ["[PAD]"]),
        ("<unk>", ["[UNK]"]),
    ],
)
def test_bytes_as_word_pieces(token: str, expected: list[str]) -> None:
    """Prevents embeddings of another place in a word (`ing` is no word), and special tokens that are spelled out."""
    assert spelt(byte_pieces(), word_pieces(), token) == expected


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("play", ["Ġplay"]), ("##play", ["play"]), ("##ing", ["ing"]), ("cafe", ["Ġ", "c", "a", "f", "e"]),
        ("!", ["!"]), ("'", ["'"]), ("[MASK]", ["<mask>"]), ("[CLS]", ["<s>"]),
    ],
)  # fmt: skip
def test_word_pieces_as_bytes(token: str, expected: list[str]) -> None:
    """Prevents the missing space mark that makes another token of a word."""
    assert spelt(word_pieces(), byte_pieces(), token) == expected


def test_the_same_vocabulary_stays_as_it_is() -> None:
    """Prevents a token that is spelled in pieces although the other side has it."""
    for tokenizer in (word_pieces(), byte_pieces()):
        assert all(found == [number] for number, found in pieces_of(tokenizer, tokenizer).items())
        assert same_tokens(tokenizer, tokenizer)
    assert not same_tokens(word_pieces(), word_pieces(lowercase=False))


def row(model: Any, tokenizer: Any, token: str) -> Tensor:
    """The embedding of a token."""
    found: Tensor = model.get_input_embeddings().weight[tokenizer.get_vocab()[token]]
    return found


def test_embeddings_by_hand() -> None:
    """Prevents embeddings of other tokens in a student, and a teacher that changes while one is made of it."""
    mine, theirs = word_pieces(["play", "##ing", "playing", "ß", "cafe"]), word_pieces()
    teacher = reader(theirs, "bert", head="mask")
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    torch.manual_seed(0)
    moved, found = with_vocabulary(teacher, theirs, mine)
    assert found == {"copied": 8, "averaged": 1, "random": 1}
    torch.testing.assert_close(row(moved, mine, "cafe"), row(teacher, theirs, "cafe"))
    torch.testing.assert_close(row(moved, mine, "[MASK]"), row(teacher, theirs, "[MASK]"))
    mean = (row(teacher, theirs, "play") + row(teacher, theirs, "##ing")) / 2
    torch.testing.assert_close(row(moved, mine, "playing"), mean)
    assert not any(torch.allclose(row(moved, mine, "ß"), other) for other in teacher.get_input_embeddings().weight)
    bias = teacher.get_parameter("cls.predictions.bias")
    number = theirs.get_vocab()
    expected = (bias[number["play"]] + bias[number["##ing"]]) / 2
    torch.testing.assert_close(moved.get_parameter("cls.predictions.bias")[mine.get_vocab()["playing"]], expected)
    assert moved.get_output_embeddings().weight is moved.get_input_embeddings().weight
    assert moved.config.vocab_size == len(mine) and teacher.config.vocab_size == len(theirs)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert moved(input_ids=torch.tensor([[2, 7, 3]])).logits.shape == (1, 3, len(mine))


def test_special_ids_of_the_config_follow_the_tokenizer() -> None:
    """Prevents a student that pads with another id than its tokenizer."""
    mine, theirs = byte_pieces(), word_pieces()
    teacher = reader(theirs, "bert")
    teacher.config.eos_token_id = theirs.sep_token_id
    moved, _ = with_vocabulary(teacher, theirs, mine)
    assert (moved.config.pad_token_id, moved.config.eos_token_id) == (1, 2)
    assert moved.get_input_embeddings().padding_idx == 1


def test_roberta_needs_its_padding_id() -> None:
    """Prevents positions that begin at another row than they were learnt at."""
    with pytest.raises(InputError, match="padding id of 1"):
        check_padding(reader(byte_pieces(), "roberta"), word_pieces())
    check_padding(reader(byte_pieces(), "roberta"), byte_pieces())
    check_padding(reader(word_pieces(), "distilbert"), word_pieces())
