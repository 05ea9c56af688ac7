"""Byte-level BPE, the sub-words of RoBERTa (Radford et al., 2019; Sennrich et al., 2016, arXiv:1508.07909)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import Field
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerBase, RobertaTokenizer

from compress.corpora.tokenizers.base import TOKENIZERS, TokenizerTraining, check_size, count_words

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


@TOKENIZERS.register("byte_bpe")
class ByteBPE(TokenizerTraining):
    """RoBERTa's tokenizer: pieces of UTF-8 bytes, so that no text is ever unknown; `<s> a </s></s> b </s>`.

    A space is put before the first word too, so that a word has one form wherever it stands, and words given one by
    one (`tag`) read like running text.
    """

    size: int = Field(8000, ge=30, le=1_000_000, description="most entries that the vocabulary may have")
    min_frequency: int = Field(2, ge=1, description="a piece must occur this often to be learnt")

    def train(self, texts: Sequence[str], max_length: int) -> PreTrainedTokenizerBase:
        """A `RobertaTokenizer` with at most `size` entries; the 256 bytes and 5 special tokens among them."""
        tokenizer = Tokenizer(BPE())
        splitter = ByteLevel(add_prefix_space=True)
        tokenizer.pre_tokenizer = splitter
        count_words(texts, splitter.pre_tokenize_str)
        alphabet = sorted(ByteLevel.alphabet())
        check_size(self.size, len(SPECIALS) + len(alphabet), "the 256 bytes and the special tokens")
        tokenizer.train_from_iterator(
            texts,
            BpeTrainer(
                vocab_size=self.size, min_frequency=self.min_frequency, special_tokens=SPECIALS,
                initial_alphabet=alphabet, show_progress=False,
            ),
        )  # fmt: skip
        learnt = json.loads(tokenizer.to_str())["model"]
        merges: Any = [tuple(pair) for pair in learnt["merges"]]
        return RobertaTokenizer(
            vocab=learnt["vocab"],
            merges=merges,
            add_prefix_space=True,
            model_max_length=max_length,
        )
