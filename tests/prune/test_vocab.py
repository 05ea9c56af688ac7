"""The pruner `vocab`: embedding, config and tokenizer of fewer tokens that predict as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    ErnieConfig,
    PreTrainedModel,
)

from compress.core.errors import InputError, JobError
from compress.prune import vocab as module
from compress.prune.base import Change
from compress.prune.coverage import covered
from compress.prune.rows import same_outputs, with_rows
from compress.prune.vocab import Vocab
from compress.train.folder import load_model, save_student
from tests.prune.words import KINDS, job, model, texts, tokenizer
from tests.students.tools import TASKS

ROWS = texts(1, 60)
CASES = [
    *((family, AutoModelForSequenceClassification) for family in sorted(KINDS)),
    *((family, AutoModelForMaskedLM) for family in ("bert", "roberta", "xlm-roberta", "albert", "mpnet")),
    ("gpt2", AutoModelForCausalLM), ("t5", AutoModelForSeq2SeqLM),
]  # fmt: skip


def made(family: str, folder: Path, head: Any = AutoModelForSequenceClassification) -> tuple[PreTrainedModel, Any]:
    """A tiny model with seven rows that no token has, as padded vocabularies have them."""
    words = tokenizer(family, folder)
    return model(family, len(words) + 7, head), words


def test_other_families_are_refused_by_name(tmp_path: Path) -> None:
    """Prevents a table that is cut in a model of which nobody here knows what else follows its tokens."""
    words = tokenizer("bert", tmp_path)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ernie = AutoModelForSequenceClassification.from_config(ErnieConfig(vocab_size=len(words), **shape))
    with pytest.raises(InputError, match="the family 'ernie' cannot be pruned yet"):
        Vocab().cut(job(ernie, words, ROWS))


@pytest.mark.parametrize(("family", "head"), CASES, ids=[f"{family}-{head.__name__[16:]}" for family, head in CASES])
def test_rows_follow_their_tokens(family: str, head: Any, tmp_path: Path) -> None:
    """A row under another token, an untied decoder or a padding that moved gives wrong predictions without a word."""
    big, words = made(family, tmp_path, head)
    change = Vocab(characters=False).cut(job(big, words, ROWS))
    small, fewer = change.model, change.tokenizer
    assert small.config.vocab_size == len(fewer) == len(small.get_input_embeddings().weight) < len(words)
    assert change.facts["rows"] == [len(words) + 7, len(fewer)]
    assert change.facts["train"]["covered_texts"] == 1
    for token, new in fewer.get_vocab().items():
        old = words.convert_tokens_to_ids(token)
        assert torch.equal(small.get_input_embeddings().weight[new], big.get_input_embeddings().weight[old])
    for role in ("pad", "bos", "eos", "cls", "sep", "mask", "decoder_start"):
        before, after = (getattr(one.config, f"{role}_token_id", None) for one in (big, small))
        assert (before is None) == (after is None)
        if before is not None:
            assert fewer.convert_ids_to_tokens(after) == words.convert_ids_to_tokens(before)
    assert small.get_input_embeddings().padding_idx == (
        None if big.get_input_embeddings().padding_idx is None else small.config.pad_token_id
    )
    out, was = small.get_output_embeddings(), big.get_output_embeddings()
    if was is not None:
        assert (out.weight is small.get_input_embeddings().weight) == (was.weight is big.get_input_embeddings().weight)
    saved = sum(value.numel() for value in big.parameters()) - sum(value.numel() for value in small.parameters())
    assert change.facts["bytes_saved"] == 4 * saved > 0
    assert not small.training and next(big.parameters()).requires_grad


def test_the_old_model_is_left_alone(tmp_path: Path) -> None:
    """A pruner that changes what it was given spoils the comparison with the original."""
    big, words = made("bert", tmp_path)
    before = {name: value.clone() for name, value in big.state_dict().items()}
    config, state, known = big.config.to_dict(), torch.get_rng_state(), words.get_vocab()
    Vocab().cut(job(big, words, ROWS))
    assert all(torch.equal(value, before[name]) for name, value in big.state_dict().items())
    assert big.config.to_dict() == config and words.get_vocab() == known
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "camembert", "deberta-v2"])
def test_saved_and_loaded_it_is_the_same(family: str, tmp_path: Path) -> None:
    """A folder whose tokenizer and rows disagree loads without complaint; the save compares ids by both libraries."""
    big, words = made(family, tmp_path / "old")
    change = Vocab().cut(job(big, words, ROWS))
    save_student(
        change.model, change.tokenizer, tmp_path / "new", task=TASKS["classify"], labels=["no", "yes"], max_length=20,
        golden_rows=[{"text": row[0]} for row in ROWS[:6]],
    )  # fmt: skip
    again = load_model(str(tmp_path / "new"), "AutoModelForSequenceClassification")
    assert again.tokenizer.get_vocab() == change.tokenizer.get_vocab() and not again.missing
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert not names & {"vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"}
    second = Vocab(size=len(change.tokenizer) - 5, characters=False).cut(job(again.model, again.tokenizer, ROWS))
    assert len(second.tokenizer) <= len(change.tokenizer) - 5  # what was cut can be cut again


def cut(options: dict[str, Any], folder: Path, rows: list[list[str]] = ROWS) -> tuple[Change, Any]:
    big, words = made("bert", folder)
    return Vocab(**options).cut(job(big, words, rows)), words


def test_min_count_leaves_rare_tokens_out(tmp_path: Path) -> None:
    """A count that is off by one keeps what it should drop."""
    rows = [["ba ri"], ["ba ri"], ["ba to"]]
    twice = cut({"min_count": 2, "characters": False}, tmp_path / "a", rows)[0].tokenizer.get_vocab()
    once = cut({"characters": False}, tmp_path / "b", rows)[0].tokenizer.get_vocab()
    assert "to" in once and "to" not in twice and {"ba", "ri"} <= set(twice)


def test_size_takes_the_most_frequent(tmp_path: Path) -> None:
    """A limit that drops frequent tokens and keeps rare ones re-splits more text than it must."""
    rows = [["ba ri ba"], ["ba ri"], ["ba to ne lu"]]
    whole = len(cut({"characters": False}, tmp_path / "a", rows)[0].tokenizer)
    change, words = cut({"size": whole - 2, "characters": False}, tmp_path / "b", rows)
    assert len(change.tokenizer) == whole - 2
    assert {"ba", "ri"} <= set(change.tokenizer.get_vocab())
    told = change.facts["train"]
    assert told["covered_texts"] == 2 / 3 and told["resplit_share"] > 0
    assert covered(words, change.tokenizer, rows) == [True, True, False]


def test_ratio_and_min_count_zero_fill_with_unseen_tokens(tmp_path: Path) -> None:
    """`ratio: .25` of a small corpus must be able to mean a quarter, not all that was not seen."""
    change, words = cut({"ratio": 0.25, "min_count": 0}, tmp_path)
    assert len(change.tokenizer) == len(words) - round(0.25 * len(words))


def test_keep_holds_rare_words_from_a_list_or_a_file(tmp_path: Path) -> None:
    """Names that only users write would fall to pieces though they were asked for."""
    rows = [["ba ri"]]
    (tmp_path / "keep.txt").write_text("quatone\nshaki\n", encoding="utf-8")
    for keep in (["quatone", "shaki"], str(tmp_path / "keep.txt")):
        change, words = cut({"keep": keep, "characters": False}, tmp_path / "t", rows)
        assert covered(words, change.tokenizer, [["quatone shaki"]]) == [True]
    assert Vocab(keep=str(tmp_path / "keep.txt")).files() == [tmp_path / "keep.txt"]
    assert Vocab(keep=["a"]).files() == [] and Vocab(keep=str(tmp_path / "keep.txt")).preflight() == []
    assert [fault.path for fault in Vocab(keep=str(tmp_path / "none.txt")).preflight()] == ["keep"]
    with pytest.raises(InputError, match="cannot be read as text"):
        cut({"keep": str(tmp_path / "none.txt")}, tmp_path / "u", rows)


def test_characters_stay_so_that_words_can_be_spelled(tmp_path: Path) -> None:
    """Without single characters a word that was never seen becomes unknown as a whole."""
    rows = [["ba ri"]]
    spelled = cut({}, tmp_path / "a", rows)[0].tokenizer
    bare = cut({"characters": False}, tmp_path / "b", rows)[0].tokenizer
    assert spelled.unk_token not in spelled.tokenize("quatone")
    assert bare.tokenize("quatone") == [bare.unk_token]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 9}, "nearest is size"),
        ({"ratio": 0.999}, "nearest is ratio"),
        ({"size": 100000, "min_count": 0}, "nothing is pruned"),
    ],
)
def test_limits_that_cannot_be_met_are_refused(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    """A limit below what must stay would drop special tokens; one above everything prunes nothing."""
    big, words = made("bert", tmp_path)
    big.resize_token_embeddings(len(words))
    with pytest.raises(InputError, match=said):
        Vocab(**options).cut(job(big, words, ROWS))


def test_the_nearest_ratio_can_be_met(tmp_path: Path) -> None:
    """A number that is named and then refused again sends the user round in circles."""
    big, words = made("bert", tmp_path)
    with pytest.raises(InputError) as refused:
        Vocab(ratio=0.999).cut(job(big, words, ROWS))
    nearest = float(str(refused.value).rpartition(" ")[2])
    assert len(Vocab(ratio=nearest).cut(job(big, words, ROWS)).tokenizer) < len(words)


@pytest.mark.parametrize("rows", [[], [[""], []]], ids=["none", "empty"])
def test_a_corpus_without_texts_is_refused(rows: list[list[str]], tmp_path: Path) -> None:
    """With no text no token is seen, and everything but the special tokens would go."""
    with pytest.raises(InputError, match="no training texts"):
        cut({}, tmp_path, rows)


def test_tokens_without_rows_are_refused(tmp_path: Path) -> None:
    """An id past the embedding fails deep in torch, or reads foreign memory on a GPU."""
    words = tokenizer("bert", tmp_path)
    with pytest.raises(InputError, match="do not belong together"):
        Vocab().cut(job(model("bert", len(words) - 3, AutoModelForSequenceClassification), words, ROWS))


def test_a_config_that_tells_of_other_rows_is_refused(tmp_path: Path) -> None:
    """Rows that the config does not tell of cannot be loaded again."""
    big, words = made("bert", tmp_path)
    big.config.vocab_size += 1
    with pytest.raises(InputError, match="mend the config"):
        Vocab().cut(job(big, words, ROWS))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 100, "ratio": 0.5}, "give one of them"),
        ({"min_count": 0}, "keeps every token"),
        ({"ratio": 1.0}, "less than 1"),
        ({"ratio": 0.0}, "greater than 0"),
        ({"min_count": -1}, "greater than or equal to 0"),
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any], said: str) -> None:
    """An option that is out of range must be named before anything is loaded."""
    with pytest.raises(ValidationError, match=said):
        Vocab(**options)


def test_the_proof_sees_a_row_in_the_wrong_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proof that cannot fail proves nothing: one row of another token must stop the cut."""
    big, words = made("bert", tmp_path)
    monkeypatch.setattr(module, "with_rows", lambda one, rows: with_rows(one, [*rows[:-1], rows[-2]]))
    with pytest.raises(JobError, match="other outputs"):
        Vocab(characters=False).cut(job(big, words, [["ba ri"]] * 3))
    ids = {"input_ids": torch.tensor([[5, 6]])}
    with pytest.raises(JobError, match="other outputs"):
        same_outputs(big, with_rows(big, [*range(5), 7, 6]), list(range(7)), [(ids, ids)])
    assert same_outputs(big, with_rows(big, list(range(7))), list(range(7)), [(ids, ids)]) == 1


def test_ids_that_name_no_token_name_none_after(tmp_path: Path) -> None:
    """GPT-2's default end of text, 50256, in a model of fewer tokens would be out of the new table."""
    big, words = made("gpt2", tmp_path, AutoModelForCausalLM)
    big.config.bos_token_id = 50256
    assert big.generation_config is not None
    big.generation_config.eos_token_id = [0, 50256]
    small = Vocab().cut(job(big, words, ROWS)).model
    assert small.config.bos_token_id is None and small.generation_config.eos_token_id == [0]
