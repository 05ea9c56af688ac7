"""Words replaced by words of similar vectors."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from compress.core.options import ModelSource
from compress.corpora.augment.base import AUGMENTERS, Augmenter, Proposer, Words, asked, pick
from compress.corpora.augment.vectors import read_vectors
from compress.corpora.augment.wordforms import Replaceable, dressed


@AUGMENTERS.register("neighbours")
class Neighbours(Augmenter):
    """Replace words by one of the nearest words in a table of vectors: any encoder's input embeddings, or a file.

    TinyBERT does this with GloVe for the words that its language model has no token for (arXiv 1909.10351,
    algorithm 1); here for every word, so no masked-LM head is asked. Words, numbers and marks that carry no topic are
    kept.
    """

    paper: ClassVar[str] = "Jiao et al. 2020, arXiv 1909.10351"

    model: ModelSource | None = Field(None, description="the model whose input embeddings of whole words are the table")
    vectors: str | None = Field(None, description="instead: a file of word vectors in word2vec's text format")
    p_t: float = Field(0.4, gt=0, le=1, description="chance of a word to be replaced")
    candidates: int = Field(15, ge=1, le=1000, description="nearest words that one is drawn from, evenly (K)")
    kept: list[str] | None = Field(None, description="words never replaced; null: English function words")

    @model_validator(mode="after")
    def _one_table(self) -> Neighbours:
        if (self.model is None) == (self.vectors is None):
            came = "both" if self.model else "neither"
            raise ValueError(f"expected `model:` or `vectors:`, the table to look words up in, came {came}")
        return self

    def source(self) -> str | None:
        """The model whose embeddings are read."""
        return self.model

    def files(self) -> list[Path]:
        """The file of vectors."""
        return [Path(self.vectors)] if self.vectors else []

    def rewrite(
        self, texts: Sequence[Words], copies: int, draw: random.Random, proposer: Proposer | None = None
    ) -> Iterator[list[Words]]:
        """`copies` of each text."""
        near = nearest(texts, Replaceable(self.kept), self.candidates, self.vectors, proposer)
        chance = draw.random
        for text in texts:
            yield [
                [
                    dressed(word, pick(near[word], chance)) if near[word] and chance() < self.p_t else word
                    for word in text
                ]
                for _ in range(copies)
            ]


def nearest(
    texts: Sequence[Words], replaceable: Replaceable, count: int, vectors: str | None, proposer: Proposer | None
) -> dict[str, Words]:
    """Each word as it stands in the texts, with the `count` words nearest to it; none for a word that is kept."""
    cores = {word: replaceable.core(word) for word in dict.fromkeys(word for text in texts for word in text)}
    plain = list(dict.fromkeys(core for core in cores.values() if core))
    if vectors is not None:
        table = read_vectors(Path(vectors))
        found = table.nearest(plain, [table.vector(core) for core in plain], count)
    else:
        found = asked(proposer, "neighbours").neighbours(plain, count)
    by_core = dict(zip(plain, found, strict=True))
    return {word: by_core.get(core, []) for word, core in cores.items()}
