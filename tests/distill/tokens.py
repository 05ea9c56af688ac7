"""Tokenizers made by hand, so that tests know every token, and models that read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel
from transformers import BertTokenizer, PreTrainedModel, RobertaTokenizer

from compress.distill.readings import Reading, Recorder
from compress.distill.spans import shared_spans
from tests.models import tiny

WORDS = ("the", "a", "b", "c", "e", "cafe", "was", "play", "stop", "don", "t", "un", "lovely", "##ing", "##s", "##play",
         "'", "!", ",", ".", "hello", "world")  # fmt: skip
MERGES = ("P l", "Pl a", "Pla y", "Ġ Play", "i n", "in g", "p l", "pl a", "pla y", "Ġ play", "' t", "Ġ a", "h e",
          "Ġ t", "Ġt he")  # fmt: skip


def word_pieces(words: Sequence[str] = WORDS, lowercase: bool = True) -> Any:
    """BERT's tokenizer over these entries and `[PAD] [UNK] [CLS] [SEP] [MASK]`, ids 0 to 4."""
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    return BertTokenizer(vocab=vocabulary, do_lower_case=lowercase, model_max_length=64)


def byte_pieces(merges: Sequence[str] = MERGES, prefix: bool = True) -> Any:
    """RoBERTa's tokenizer over the bytes and these merges, `<s> <pad> </s> <unk> <mask>` with ids 0 to 4."""
    pairs = [(one, two) for one, two in (merge.split() for merge in merges)]
    entries = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet()), *(a + b for a, b in pairs)]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    return RobertaTokenizer(vocab=vocabulary, merges=pairs, add_prefix_space=prefix, model_max_length=64)


def reading(tokenizer: Any, text: Any, pair: str | None = None, **options: Any) -> Reading:
    """One row as the tokenizer reads it; a list of words is read word by word."""
    recorder = Recorder(tokenizer)
    recorder(text, pair, is_split_into_words=isinstance(text, list), **options)
    ((found,),) = recorder.calls
    return found


def groups(mine: Any, theirs: Any, text: Any, pair: str | None = None, **options: Any) -> list[tuple[str, str]]:
    """The tokens of each common span, those of a side with blanks between."""
    one, two = reading(mine, text, pair, **options), reading(theirs, text, pair)
    spans = shared_spans(one, two)
    sides = ((mine, one, spans.mine), (theirs, two, spans.theirs))
    tokens = [[t.convert_ids_to_tokens(r.ids), numbers] for t, r, numbers in sides]
    return [
        tuple(" ".join(token for token, at in zip(*side, strict=True) if at == number) for side in tokens)  # type: ignore[misc]
        for number in range(spans.count)
    ]


def reader(tokenizer: Any, family: str = "bert", **shape: Any) -> PreTrainedModel:
    """A tiny random model over the tokenizer's vocabulary."""
    labels = 2 if shape.get("head") == "answer" else 3
    model = tiny(family, labels=labels, **shape)
    model.resize_token_embeddings(len(tokenizer))
    return model.eval()
