"""What a cutter is: which tokens of one kind of tokenizer model hang together, and that model without the others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Set
from typing import Any

from tokenizers import Tokenizer


class Cutter(ABC):
    """Cuts the `model` part of a tokenizer.json. A text is *covered* when the cut tokenizer cuts it into the same
    tokens; each kind says which tokens must stay so that a text whose tokens all stay is covered."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        """data: a whole tokenizer.json."""
        self.data = data
        self.model: Mapping[str, Any] = data["model"]

    @classmethod
    @abstractmethod
    def fault(cls, data: Mapping[str, Any]) -> str:
        """Why a tokenizer of this kind cannot be cut; empty when it can."""

    def vocabulary(self) -> list[tuple[int, str]]:
        """(id, token) of the model, added tokens that it does not hold left out; in the order of the ids."""
        return sorted((number, token) for token, number in self.model["vocab"].items())

    @abstractmethod
    def bound(self) -> set[str]:
        """Tokens that must stay whatever the texts are."""

    @abstractmethod
    def characters(self) -> set[str]:
        """Tokens of a single character, by which any word can still be spelled that could be spelled before."""

    def with_parts(self, token: str) -> set[str]:
        """A token and every token that must be there for it to be found."""
        return {token}

    def behind_unknown(self, text: str, tokenizer: Tokenizer) -> set[str]:
        """Tokens that must stay so that what is unknown in `text` stays unknown in the same way."""
        return set()

    @abstractmethod
    def cut(self, kept: Set[str]) -> dict[str, Any]:
        """The model with the kept tokens alone, in their old order."""


def renumbered(vocabulary: Mapping[str, int], kept: Set[str]) -> dict[str, int]:
    """The kept tokens in the order of their ids, numbered from 0."""
    ordered = sorted((number, token) for token, number in vocabulary.items() if token in kept)
    return {token: place for place, (_, token) in enumerate(ordered)}


def single(tokens: Iterable[str], prefix: str = "") -> set[str]:
    """The tokens that are one character long, a leading `prefix` not counted."""
    return {token for token in tokens if len(token) == 1 or (prefix and len(token.removeprefix(prefix)) == 1)}


def bytes_among(tokens: Iterable[str]) -> set[str]:
    """The tokens `<0x00>` to `<0xFF>`, by which a byte fallback spells what has no token of its own."""
    names = {f"<0x{value:02X}>" for value in range(256)}
    return names.intersection(tokens)
