"""Unigram: of all ways to cut a word the one with the largest sum of scores. (Kudo 2018.)

Why covered text is cut the same. Let the best way B through a word use kept tokens alone.

1. A place with no token of one character offers the unknown token, whose score is the smallest of the vocabulary less
   10. A token of the smallest score always stays (`bound`), so that this score does not move.
2. Every way through the new vocabulary was open in the old one at the same sum or a larger one: its tokens are the
   same, and where it now takes the unknown token for a character whose own token went, that one scored 10 more or
   better.
3. B is still open, at the same sum, added up in the same order. So at each place of B the best sum is what it was.
4. Ties: the search keeps what came first, and steps come in the order of where they start. What came before B's
   step at a place of B was worse (or it would have been kept), and is now no better; what comes after is not larger.

So the search takes B again. A byte fallback spells what is unknown by the tokens `<0x..>`, which all stay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from typing import Any

from compress.prune.tokenizers.base import Cutter, bytes_among, single

FIXED_PLACES = 16
"""Some classes of transformers put the unknown token at a fixed id (XLM-R's at 3, T5's at 2): up to this id of it, the
tokens before it stay, so that it does too."""


class UnigramCutter(Cutter):
    """SentencePiece's unigram models: XLM-R, CamemBERT, ALBERT, DeBERTa-v2, T5.

    What their original numbering had in front (fairseq's `<s>`, `<pad>`, `</s>`, `<unk>`) stands in the tokenizer.json
    as tokens of the model, and stays in front.
    """

    @classmethod
    def fault(cls, data: Mapping[str, Any]) -> str:
        """Scores that are no numbers: then there is no best way."""
        if not all(math.isfinite(score) for _, score in data["model"]["vocab"]):
            return "some of its scores are no finite numbers"
        return ""

    def vocabulary(self) -> list[tuple[int, str]]:
        """(id, token): a token's place in the list is its id."""
        return [(place, token) for place, (token, _) in enumerate(self.model["vocab"])]

    def bound(self) -> set[str]:
        """The unknown token with those before it, one token of the smallest score, and the bytes of a fallback."""
        pieces = self.model["vocab"]
        lowest = min(pieces, key=lambda piece: piece[1])[0]
        unknown = self.model.get("unk_id")
        ahead = [] if unknown is None else pieces[(unknown if unknown > FIXED_PLACES else 0) : unknown + 1]
        fallback = bytes_among(token for token, _ in pieces) if self.model.get("byte_fallback") else set()
        return {lowest, *(token for token, _ in ahead)} | fallback

    def characters(self) -> set[str]:
        """Single characters, the mark of a word's start among them."""
        return single(token for token, _ in self.model["vocab"])

    def cut(self, kept: Set[str]) -> dict[str, Any]:
        """The model with fewer pieces at their scores, and the new place of the unknown one."""
        pieces, unknown = self.model["vocab"], self.model.get("unk_id")
        stay = [place for place, (token, _) in enumerate(pieces) if token in kept]
        moved = None if unknown is None else stay.index(unknown)
        return {**self.model, "vocab": [pieces[place] for place in stay], "unk_id": moved}
