"""WordPiece: each word is read from the left, the longest token that fits first.

Why covered text is cut the same. Let a word be cut into t1 ... tn, all kept. At its start the longest token of the old
vocabulary that fits is t1. The new vocabulary is a part of the old one that holds t1, so nothing longer fits and t1
does: it is taken again, and so on to the end. A word that ends as unknown went some way first: t1 ... tk were found and
then nothing fitted. The tokens of that way are no part of the output, yet without them a shorter beginning might lead
through and the word would be known; `behind_unknown` names them, and with them the new tokenizer fails where the old
one did.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from tokenizers import Tokenizer

from compress.prune.tokenizers.base import Cutter, renumbered, single


class WordPieceCutter(Cutter):
    """BERT's tokenizer, and that of DistilBERT, ELECTRA and MPNet."""

    @classmethod
    def fault(cls, data: Mapping[str, Any]) -> str:
        """Every WordPiece can be cut."""
        return ""

    def bound(self) -> set[str]:
        """The unknown token."""
        return {str(self.model["unk_token"])}.intersection(self.model["vocab"])

    def characters(self) -> set[str]:
        """Characters that start a word and characters that go on in one (`a` and `##a`)."""
        return single(self.model["vocab"], str(self.model["continuing_subword_prefix"]))

    def behind_unknown(self, text: str, tokenizer: Tokenizer) -> set[str]:
        """The tokens that were found in each word before nothing fitted any more."""
        normal = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
        words = tokenizer.pre_tokenizer.pre_tokenize_str(normal) if tokenizer.pre_tokenizer else [(normal, None)]
        found: set[str] = set()
        for word in {word for word, _ in words}:
            if len(word) <= int(self.model["max_input_chars_per_word"]):
                found |= self._way(word)
        return found

    def _way(self, word: str) -> set[str]:
        """The tokens of an unknown word from its start up to where nothing fits; none for a word that is known."""
        found: set[str] = set()
        start, prefix, known = 0, "", self.model["vocab"]
        while start < len(word):
            fits = next((end for end in range(len(word), start, -1) if prefix + word[start:end] in known), None)
            if fits is None:
                return found
            found.add(prefix + word[start:fits])
            start, prefix = fits, str(self.model["continuing_subword_prefix"])
        return set()

    def cut(self, kept: Set[str]) -> dict[str, Any]:
        """The model with fewer tokens; nothing else in it depends on them."""
        return {**self.model, "vocab": renumbered(self.model["vocab"], kept)}
