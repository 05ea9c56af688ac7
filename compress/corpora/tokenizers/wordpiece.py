"""WordPiece, the sub-words of BERT (Schuster and Nakajima, 2012; Wu et al., 2016, arXiv:1609.08144)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import Field
from tokenizers import Tokenizer
from tokenizers.models import WordPiece as WordPieceModel
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer
from transformers import BertTokenizer, PreTrainedTokenizerBase

from compress.corpora.tokenizers.base import TOKENIZERS, TokenizerTraining, check_size, count_words

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PREFIX = "##"


@TOKENIZERS.register("wordpiece")
class WordPiece(TokenizerTraining):
    """BERT's tokenizer: words, then pieces of words (`play`, `##ing`); `[CLS] a [SEP] b [SEP]`."""

    size: int = Field(8000, ge=30, le=1_000_000, description="most entries that the vocabulary may have")
    lowercase: bool = Field(True, description="fold case and strip accents, as the uncased BERT does")
    min_frequency: int = Field(2, ge=1, description="a piece must occur this often to be learnt")
    alphabet: int = Field(1000, ge=10, description="most characters kept; words with rarer ones become [UNK]")

    def train(self, texts: Sequence[str], max_length: int) -> PreTrainedTokenizerBase:
        """A `BertTokenizer` with at most `size` entries."""
        tokenizer = Tokenizer(WordPieceModel(unk_token="[UNK]"))
        normalizer, splitter = BertNormalizer(lowercase=self.lowercase), BertPreTokenizer()
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
        words = count_words(texts, lambda text: splitter.pre_tokenize_str(normalizer.normalize_str(text)))
        alphabet = self._alphabet(words)
        # The trainer numbers `##x` in the order of a hash map, so that ids change from run to run, and with them the
        # ties between merges. Entries given as special come first and in order: this is what makes it repeatable.
        first = [*SPECIALS, *alphabet, *_continuing(words, alphabet)]
        check_size(self.size, len(first), f"the {len(alphabet)} characters of this corpus and their {PREFIX} forms")
        tokenizer.train_from_iterator(
            texts,
            WordPieceTrainer(
                vocab_size=self.size, min_frequency=self.min_frequency, special_tokens=first,
                initial_alphabet=alphabet, limit_alphabet=len(alphabet), show_progress=False,
            ),
        )  # fmt: skip
        return BertTokenizer(vocab=tokenizer.get_vocab(), do_lower_case=self.lowercase, model_max_length=max_length)

    def _alphabet(self, words: Counter[str]) -> list[str]:
        """The most frequent characters, in code-point order; ties go to the lower code point."""
        counts: Counter[str] = Counter()
        for word, times in words.items():
            for character in word:
                counts[character] += times
        kept = sorted(counts, key=lambda character: (-counts[character], character))[: self.alphabet]
        return sorted(kept)


def _continuing(words: Counter[str], alphabet: Sequence[str]) -> list[str]:
    """`##x` for every kept character that occurs inside a word."""
    inside = {character for word in words for character in word[1:]}
    return [PREFIX + character for character in alphabet if character in inside]
