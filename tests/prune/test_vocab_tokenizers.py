"""Covered text is cut the same, token for token, by every kind of tokenizer that can be cut."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, BertConfig, PreTrainedTokenizerFast

from compress.core.errors import InputError
from compress.prune.coverage import coverage, covered, ids_of
from compress.prune.tokenizers.base import Cutter
from compress.prune.tokenizers.byte_bpe import ByteBPECutter
from compress.prune.tokenizers.edit import bound_ids, cut_tokenizer, cutter_of, edit, tokens_by_id
from compress.prune.tokenizers.unigram import UnigramCutter
from compress.prune.tokenizers.wordpiece import WordPieceCutter
from tests.prune.words import KINDS, SYLLABLES, texts, tokenizer

FAMILIES = sorted(KINDS)


def cut(old: Any, rows: list[list[str]], family: str, skip: int = 0) -> tuple[Any, list[int]]:
    """The tokenizer of what the rows use, `skip` of their tokens left out."""
    cutter = cutter_of(old)
    name = dict(tokens_by_id(cutter))
    used = sorted({number for row in ids_of(old, rows) for text in row for number in text})
    kept = cutter.bound() | {name[number] for number in bound_ids(cutter, old)}
    for number in used[: len(used) - skip]:
        kept |= cutter.with_parts(name[number])
    for row in rows:
        for text in row:
            kept |= cutter.behind_unknown(text, old.backend_tokenizer)
    return cut_tokenizer(old, cutter, kept, KINDS[family][1]())


@pytest.mark.parametrize("family", FAMILIES)
def test_covered_text_is_cut_the_same(family: str, tmp_path: Path) -> None:
    """A merge, a longest match or a best path that changes gives a trained model other tokens than it learned."""
    old = tokenizer(family, tmp_path)
    seen = texts(7, 150, pairs=True)
    new, rows = cut(old, seen, family, skip=20)
    assert len(new) == len(rows) < len(old)
    token = {place: old.convert_ids_to_tokens(number) for place, number in enumerate(rows)}
    assert {place: new.convert_ids_to_tokens(place) for place in token} == token
    assert rows == sorted(rows)
    pool = [*seen, *texts(8, 1500), *texts(9, 1500)]
    kept = set(rows)
    spelled = [all(number in kept for text in row for number in text) for row in ids_of(old, pool)]
    assert 300 < sum(spelled) < len(pool)
    unknown = old.unk_token_id
    plain = [unknown not in text for row in ids_of(old, pool) for text in row[:1]]
    same = covered(old, new, pool)
    assert all(one for one, whole, known in zip(same, spelled, plain, strict=True) if whole and known)


@pytest.mark.parametrize("family", FAMILIES)
def test_pairs_and_special_tokens_follow(family: str, tmp_path: Path) -> None:
    """An id that a template, a pair or a special token still names by its old number reads another token's row."""
    old = tokenizer(family, tmp_path)
    seen = texts(7, 60, pairs=True)
    new, rows = cut(old, seen, family)
    for first, second in seen[:20]:
        before, after = old(first, second), new(first, second)
        assert [rows[number] for number in after["input_ids"]] == before["input_ids"]
        assert {name: after[name] for name in after if name != "input_ids"} == {
            name: before[name] for name in before if name != "input_ids"
        }
        assert new.decode(after["input_ids"]) == old.decode(before["input_ids"])
    for role in ("pad", "unk", "cls", "sep", "mask", "bos", "eos"):
        before, after = (getattr(one, f"{role}_token_id") for one in (old, new))
        assert (before is None) == (after is None) and (after is None or rows[after] == before)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_file_brings_the_old_vocabulary_back(family: str, tmp_path: Path) -> None:
    """A vocab.txt or a spiece.model left beside the cut tokenizer.json would be read in its place."""
    old = tokenizer(family, tmp_path / "old")
    new, _ = cut(old, texts(7, 60), family)
    new.save_pretrained(tmp_path / "new")
    KINDS[family][1]().save_pretrained(tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "tokenizer.json", "tokenizer_config.json", "config.json",
    }  # fmt: skip
    assert AutoTokenizer.from_pretrained(tmp_path / "new").get_vocab() == new.get_vocab()
    alone = Tokenizer.from_file(str(tmp_path / "new" / "tokenizer.json"))
    assert alone.get_vocab() == new.get_vocab()
    for row in texts(12, 30):
        assert alone.encode(row[0]).ids == new(row[0])["input_ids"]


def bpe(**more: Any) -> Tokenizer:
    """A byte-level BPE of letters whose merges compete for the same letters."""
    merges = [("a", "b"), ("b", "c"), ("ab", "c"), ("bc", "d"), ("a", "bcd"), ("c", "d"), ("ab", "cd"), ("abcd", "a")]
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet()) + list(dict.fromkeys(one + two for one, two in merges))
    made = Tokenizer(models.BPE(vocab={token: place for place, token in enumerate(pieces)}, merges=merges, **more))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return made


def smaller(made: Tokenizer, cutter: Cutter, kept: set[str]) -> Tokenizer:
    """The library's tokenizer of the kept tokens."""
    new = {number: place for place, number in enumerate(n for n, token in tokens_by_id(cutter) if token in kept)}
    return Tokenizer.from_str(json.dumps(edit(cutter, kept, new)))


def test_the_way_to_a_merged_token_stays() -> None:
    """`abc` is made by way of `ab`; without it its merge is never reached and the word falls into letters."""
    made = bpe()
    cutter = ByteBPECutter(json.loads(made.to_str()))
    assert cutter.with_parts("abc") == {"abc", "ab"}
    assert made.encode("abcd").tokens == ["abc", "d"]
    cut_down = smaller(made, cutter, cutter.bound() | cutter.with_parts("abc"))
    assert cut_down.encode("abcd").tokens == ["abc", "d"]
    assert cut_down.get_vocab_size() == 256 + 2


def test_merges_over_thousands_of_words() -> None:
    """Merges that overlap are where a cut list could take another way: every subset of tokens, on every word."""
    made, draw = bpe(), random.Random(3)
    cutter = ByteBPECutter(json.loads(made.to_str()))
    words = ["".join(draw.choice("abcd") for _ in range(draw.randint(1, 9))) for _ in range(300)]
    before = {word: made.encode(word).tokens for word in words}
    checked = 0
    for _ in range(40):
        kept = cutter.bound()
        for token in draw.sample(["ab", "bc", "abc", "bcd", "cd", "abcd", "abcda"], draw.randint(1, 4)):
            kept |= cutter.with_parts(token)
        cut_down = smaller(made, cutter, kept)
        for word, tokens in before.items():
            if kept.issuperset(tokens):
                assert cut_down.encode(word).tokens == tokens
                checked += 1
    assert checked > 3000


def test_merges_written_as_text_are_read() -> None:
    """Files of older versions write a merge as `a b`; read letter by letter nothing would be merged."""
    data = json.loads(bpe().to_str())
    data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    cutter = ByteBPECutter(data)
    assert cutter.with_parts("abc") == {"abc", "ab"}
    assert cutter.cut(cutter.bound() | {"ab", "abc"})["merges"] == [["a", "b"], ["ab", "c"]]


def test_an_unknown_word_stays_unknown() -> None:
    """Without `ab`, which was found before `##x` was not, the word `abx` would be read as `a` and `##bx`."""
    pieces = ["[UNK]", "a", "ab", "##bx", "c"]
    made = Tokenizer(models.WordPiece({token: place for place, token in enumerate(pieces)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    cutter = WordPieceCutter(json.loads(made.to_str()))
    assert made.encode("abx c").tokens == ["[UNK]", "c"]
    assert cutter.behind_unknown("abx c", made) == {"ab"}
    loose = smaller(made, cutter, {"[UNK]", "a", "##bx", "c"})
    assert loose.encode("abx c").tokens == ["a", "##bx", "c"]
    tight = smaller(made, cutter, {"[UNK]", "a", "##bx", "c", "ab"})
    assert tight.encode("abx c").tokens == ["[UNK]", "c"]


def test_the_smallest_score_stays() -> None:
    """The unknown token's score hangs on the smallest one: without it an unknown letter could beat a piece."""
    pieces = [("<unk>", 0.0), ("x", -1.0), ("a", -90.0), ("ax", -90.0), ("xb", -90.0), ("z", -200.0)]
    made = Tokenizer(models.Unigram(pieces, unk_id=0))
    cutter = UnigramCutter(json.loads(made.to_str()))
    assert "z" in cutter.bound()
    kept = {"a", "xb", "ax"}
    assert made.encode("axb").tokens == ["a", "xb"]
    assert smaller(made, cutter, cutter.bound() | kept).encode("axb").tokens == ["a", "xb"]
    assert smaller(made, cutter, {"<unk>"} | kept).encode("axb").tokens == ["ax", "b"]


def test_ties_of_scores_keep_their_order() -> None:
    """Of two ways with equal sums the first found wins; a cut list that reorders tokens would turn it."""
    draw = random.Random(5)
    pieces = [("<unk>", 0.0)] + [(one, -1.0) for one in "abc"]
    pieces += [(one + two, -2.0) for one in "abc" for two in "abc"] + [(one + "ab", -3.0) for one in "abc"]
    made = Tokenizer(models.Unigram(pieces, unk_id=0))
    cutter = UnigramCutter(json.loads(made.to_str()))
    words = ["".join(draw.choice("abc") for _ in range(draw.randint(1, 8))) for _ in range(300)]
    checked = 0
    for _ in range(40):
        kept = cutter.bound() | set(draw.sample([token for token, _ in pieces], 9))
        cut_down = smaller(made, cutter, kept)
        for word in words:
            tokens = made.encode(word).tokens
            if kept.issuperset(tokens):
                assert cut_down.encode(word).tokens == tokens
                checked += 1
    assert checked > 1000


def test_every_place_that_names_an_id_is_renumbered() -> None:
    """Template, BERT and RoBERTa processors, a sequence of them and padding name ids of their own."""
    pieces = ["x", "[PAD]", "y", "[UNK]", "[CLS]", "z", "[SEP]"]
    made = Tokenizer(models.WordPiece({token: place for place, token in enumerate(pieces)}, unk_token="[UNK]"))
    made.add_special_tokens(["[PAD]", "[CLS]", "[SEP]", "[NEW]"])
    made.enable_padding(pad_id=1, pad_token="[PAD]")
    template = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 4), ("[SEP]", 6)]
    )
    for one in (
        template, processors.BertProcessing(("[SEP]", 6), ("[CLS]", 4)),
        processors.RobertaProcessing(("[SEP]", 6), ("[CLS]", 4)),
        processors.Sequence([processors.ByteLevel(), template]),
    ):  # fmt: skip
        made.post_processor = one
        cutter = WordPieceCutter(json.loads(made.to_str()))
        cut_down = smaller(made, cutter, {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[NEW]", "z"})
        assert cut_down.get_vocab() == {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "z": 3, "[SEP]": 4, "[NEW]": 5}
        assert cut_down.encode("z[NEW]").ids == [2, 3, 5, 4]
        assert json.loads(cut_down.to_str())["padding"]["pad_id"] == 0


def fast(made: Tokenizer) -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]")


class _Slow:
    is_fast = False


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: _Slow(), "slow tokenizer"),
        (lambda: fast(Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))), "WordLevel cannot be cut"),
        (lambda: fast(bpe(ignore_merges=True)), "ignore_merges"),
        (lambda: fast(bpe(dropout=0.1)), "dropout"),
        (lambda: fast(bpe(end_of_word_suffix="</w>")), "prefix or suffix"),
        (lambda: fast(Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))), "without a fallback to bytes"),
    ],
    ids=["slow", "word level", "ignore_merges", "dropout", "suffix", "characters"],
)
def test_what_cannot_be_cut_is_refused(made: Any, said: str) -> None:
    """A cut that cannot be proven must be refused with the reason, not tried."""
    with pytest.raises(InputError, match=said):
        cutter_of(made())


def test_a_class_that_numbers_by_itself_is_refused(tmp_path: Path) -> None:
    """A class that puts its special tokens at fixed ids would shift every row of the embedding."""
    old = tokenizer("bert", tmp_path)
    cutter = cutter_of(old)
    with pytest.raises(InputError, match="cannot be cut"):
        cut_tokenizer(old, cutter, {"[UNK]", "[CLS]", "[SEP]", "[MASK]", "ba"} | cutter.bound(), BertConfig())


def test_coverage_counts_what_changes(tmp_path: Path) -> None:
    """A share over the wrong whole would report a vocabulary as harmless that is not."""
    old = tokenizer("bert", tmp_path)
    new, _ = cut(old, [["ba ri"]], "bert")
    whole = next(iter(ids_of(old, [["baribaritone"]])))[0]
    told = coverage(old, new, [["ba"], ["ba", "ri"], ["日"], ["baribaritone"]])
    assert told["texts"] == 4 and told["covered_texts"] == told["kept_texts"] == 3 / 4
    assert told["tokens"] == 4 + len(whole)
    assert told["resplit_share"] == len(whole) / told["tokens"]
    assert told["unknown_share_before"] == 1 / told["tokens"]
    assert told["unknown_share"] == 2 / 5  # the word has become one unknown token


def test_syllables_are_text() -> None:
    """The made text must hold more than ASCII, or bytes of a character are never apart."""
    assert any(len(one.encode()) > len(one) for one in SYLLABLES)
