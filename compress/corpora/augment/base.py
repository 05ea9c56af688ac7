"""What an augmentation method is: new texts from training texts, word by word."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from compress.core.errors import InputError
from compress.core.options import Options
from compress.core.registry import Catalogue

Words = list[str]


class Proposer(Protocol):
    """What a method may ask of a model. `compress.steps.proposer` makes one, since a corpus knows no model."""

    @property
    def mask_token(self) -> str:
        """The text of the tokenizer's mask token. Raises InputError when it has none."""

    def single(self, word: str) -> bool:
        """Whether a word is one token of the model."""

    def fills(self, texts: Sequence[Words], places: Sequence[Sequence[int]], count: int) -> list[list[Words]]:
        """For each place of each text: the words likeliest there when that word alone is masked, the likeliest first.

        Whole words other than the one that stands there; punctuation around a word stays and is no part of it.
        """

    def neighbours(self, words: Sequence[str], count: int) -> list[Words]:
        """For each word: the whole words whose input embeddings are nearest to its own, the nearest first."""


class Augmenter(Options):
    """Base of every method. asks: what must be trained in its model, `fills` (a masked-LM head) or `embeddings`.

    A method sees the words of training texts and nothing else: no label, no dev or test row. Words are what stands
    between spaces, or the tokens of a tagged row.
    """

    paper: ClassVar[str] = ""
    asks: ClassVar[str] = "embeddings"

    def source(self) -> str | None:
        """The model ($step, folder or hub name) that it asks, None when it asks none."""
        return None

    def files(self) -> list[Path]:
        """Local files whose content decides what it gives, its model left out."""
        return []

    @abstractmethod
    def rewrite(
        self, texts: Sequence[Words], copies: int, draw: random.Random, proposer: Proposer | None = None
    ) -> Iterator[list[Words]]:
        """For each text, in order, at most `copies` new ones. Every draw comes from `draw`.

        A new text may equal the old one, and may be missing where nothing can be made: whoever calls sorts that out.
        """


def asked(proposer: Proposer | None, name: str) -> Proposer:
    """The proposer, or InputError when the method `name` was given none."""
    if proposer is None:
        raise InputError(f"{name} asks a model, and none was given")
    return proposer


def pick(items: Sequence[str], chance: Callable[[], float]) -> str:
    """One of the items, drawn by `chance` in [0, 1): several times quicker than `random.choice` in a loop of words."""
    return items[int(chance() * len(items))]


AUGMENTERS: Catalogue[Augmenter] = Catalogue("augmenter", "augmenters", ("compress.corpora.augment",))
