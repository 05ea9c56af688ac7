"""Words replaced by what a masked language model would say (TinyBERT's augmentation)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from compress.core.options import ModelSource
from compress.corpora.augment.base import AUGMENTERS, Augmenter, Proposer, Words, asked, pick
from compress.corpora.augment.neighbours import nearest
from compress.corpora.augment.wordforms import Replaceable, dressed

_CHUNK = 64


@AUGMENTERS.register("replace")
class Replace(Augmenter):
    """Replace words by a masked language model's candidates, each word masked alone in its own text.

    Algorithm 1 of the paper: a word that is one token of the model is replaced by one of the `candidates` likeliest
    words in its place; a word of several tokens by one of the nearest words in a table of vectors, which is `vectors`
    (the paper took GloVe) or the model's own input embeddings. Unlike there, a word is never drawn as its own
    replacement, and places that no copy draws are not asked for. Kept words as in `neighbours`.
    """

    paper: ClassVar[str] = "Jiao et al. 2020, arXiv 1909.10351"
    asks: ClassVar[str] = "fills"

    model: ModelSource = Field(description="a model with a trained masked-LM head (a step, a folder or a hub name)")
    vectors: str | None = Field(
        None, description="word vectors (word2vec's text format) for words of several tokens; null: the model's own"
    )
    p_t: float = Field(0.4, gt=0, le=1, description="chance of a word to be replaced")
    candidates: int = Field(15, ge=1, le=1000, description="likeliest words that one is drawn from, evenly (K)")
    kept: list[str] | None = Field(None, description="words never replaced; null: English function words")

    def source(self) -> str | None:
        """The masked language model."""
        return self.model

    def files(self) -> list[Path]:
        """The file of vectors."""
        return [Path(self.vectors)] if self.vectors else []

    def rewrite(
        self, texts: Sequence[Words], copies: int, draw: random.Random, proposer: Proposer | None = None
    ) -> Iterator[list[Words]]:
        """`copies` of each text."""
        model, replaceable = asked(proposer, "replace"), Replaceable(self.kept)
        several = [[word for word in text if not model.single(replaceable.core(word) or word)] for text in texts]
        near = nearest(several, replaceable, self.candidates, self.vectors, proposer)
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            chosen = [[self._places(text, replaceable, draw) for _ in range(copies)] for text in chunk]
            said = self._candidates(chunk, chosen, near, model)
            for text, made, options in zip(chunk, chosen, said, strict=True):
                yield [_replaced(text, places, options, draw) for places in made]

    def _places(self, text: Words, replaceable: Replaceable, draw: random.Random) -> list[int]:
        return [at for at, word in enumerate(text) if replaceable.core(word) and draw.random() < self.p_t]

    def _candidates(
        self, texts: Sequence[Words], chosen: Sequence[Sequence[list[int]]], near: dict[str, Words], model: Proposer
    ) -> list[dict[int, Words]]:
        """For each text: place to candidates, for the places that some copy has drawn."""
        wanted = [sorted({place for places in copies for place in places}) for copies in chosen]
        asking = [[at for at in places if text[at] not in near] for text, places in zip(texts, wanted, strict=True)]
        fills = model.fills(texts, asking, self.candidates)
        return [
            {**{at: near[text[at]] for at in places if text[at] in near}, **dict(zip(masked, said, strict=True))}
            for text, places, masked, said in zip(texts, wanted, asking, fills, strict=True)
        ]


def _replaced(text: Words, places: list[int], options: dict[int, Words], draw: random.Random) -> Words:
    words = list(text)
    for at in places:
        if options[at]:
            words[at] = dressed(words[at], pick(options[at], draw.random))
    return words
