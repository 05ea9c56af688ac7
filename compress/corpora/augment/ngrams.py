"""Masking, replacement by words of the same distribution, and n-gram sampling (Tang et al. 2019)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from compress.core.options import ModelSource
from compress.corpora.augment.base import AUGMENTERS, Augmenter, Proposer, Words, asked
from compress.corpora.augment.contexts import Contexts


@AUGMENTERS.register("ngrams")
class NGrams(Augmenter):
    """Mask a word, swap it for another, or keep an n-gram alone: each word of each copy draws its fate.

    The paper swaps a word for one of the same part of speech, drawn by frequency. Here no tagger is asked: the other
    word is drawn from those that stood between the same two neighbours somewhere in the training texts
    (`compress.corpora.augment.contexts`), which favours the same part of speech and does not promise it. A masked word
    is dropped, since a mask token's text belongs to one tokenizer; `masked: token` does as the paper does.
    """

    paper: ClassVar[str] = "Tang et al. 2019, arXiv 1903.12136"

    p_mask: float = Field(0.1, ge=0, le=1, description="chance of a word to be masked")
    p_swap: float = Field(
        0.1, ge=0, le=1, description="chance of a word to be swapped for one that stood in such places"
    )
    p_ng: float = Field(0.25, ge=0, le=1, description="chance of a copy to be cut down to one of its n-grams")
    shortest: int = Field(1, ge=1, le=100, description="fewest words of an n-gram")
    longest: int = Field(5, ge=1, le=100, description="most words of an n-gram")
    masked: Literal["drop", "token"] = Field(
        "drop", description="what becomes of a masked word: drop it, or put the mask token of `tokenizer` there"
    )
    tokenizer: ModelSource | None = Field(None, description="the model whose mask token is meant, for `masked: token`")

    @model_validator(mode="after")
    def _consistent(self) -> NGrams:
        if self.p_mask + self.p_swap > 1:
            raise ValueError(f"p_mask and p_swap: expected at most 1 together, came {self.p_mask + self.p_swap:g}")
        if not self.p_mask + self.p_swap + self.p_ng:
            raise ValueError("p_mask, p_swap and p_ng are all 0: nothing would change; raise one of them")
        if self.shortest > self.longest:
            raise ValueError(f"shortest ({self.shortest}) is more than longest ({self.longest})")
        if self.masked == "token" and self.tokenizer is None:
            raise ValueError("masked: token needs `tokenizer:`, the model whose mask token is meant ($teacher, say)")
        if self.masked == "drop" and self.tokenizer is not None:
            raise ValueError("tokenizer: is read with `masked: token` only; add that, or leave it out")
        return self

    def source(self) -> str | None:
        """The model whose tokenizer has the mask token."""
        return self.tokenizer

    def rewrite(
        self, texts: Sequence[Words], copies: int, draw: random.Random, proposer: Proposer | None = None
    ) -> Iterator[list[Words]]:
        """`copies` of each text; a copy of which no word is left is missing."""
        mask = asked(proposer, "ngrams").mask_token if self.masked == "token" else None
        contexts = Contexts(texts if self.p_swap else ())
        for text in texts:
            made = (self._copy(text, mask, contexts, draw.random) for _ in range(copies))
            yield [words for words in made if words]

    def _copy(self, text: Words, mask: str | None, contexts: Contexts, chance: Callable[[], float]) -> Words:
        words: Words = []
        p_mask, p_either = self.p_mask, self.p_mask + self.p_swap
        for word in text:
            fate = chance()
            if fate >= p_either:
                words.append(word)
            elif fate >= p_mask:
                words.append(contexts.substitute(word, chance))
            elif mask is not None:
                words.append(mask)
        if len(words) > self.shortest and chance() < self.p_ng:
            size = self.shortest + int(chance() * (min(self.longest, len(words)) - self.shortest + 1))
            start = int(chance() * (len(words) - size + 1))
            words = words[start : start + size]
        return words
