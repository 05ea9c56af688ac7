"""Pieces of two training texts as one text."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from pydantic import Field

from compress.corpora.augment.base import AUGMENTERS, Augmenter, Proposer, Words


@AUGMENTERS.register("joined")
class Joined(Augmenter):
    """Join a text and another one, whole or cut at word boundaries, so that phrases become sentence-long texts.

    For corpora whose training rows are shorter than what will be asked (SST-2 trains on phrases and is judged on
    sentences). A cut copy is a beginning of the one text and an end of the other.
    """

    whole: float = Field(0.5, ge=0, le=1, description="chance that both texts are joined whole; the others are cut")
    longest: int = Field(64, ge=2, le=2048, description="most words of a joined text; the rest is cut off")
    between: str = Field("", max_length=40, description="words put between the two, such as `and` or `,`; empty: none")

    def rewrite(
        self, texts: Sequence[Words], copies: int, draw: random.Random, proposer: Proposer | None = None
    ) -> Iterator[list[Words]]:
        """`copies` of each text, each with another text drawn evenly; the order of the two is drawn as well."""
        between = self.between.split()
        chance = draw.random
        for text in texts:
            made = []
            for _ in range(copies):
                other = texts[int(chance() * len(texts))]
                one, two = (text, other) if chance() < 0.5 else (other, text)
                if chance() >= self.whole:
                    one = one[: 1 + int(chance() * len(one))]
                    two = two[int(chance() * len(two)) :]
                made.append([*one, *between, *two][: self.longest])
            yield made
