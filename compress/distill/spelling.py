"""What the tokens of one vocabulary are called in another: WordPiece, byte-level BPE and SentencePiece spell apart."""

from __future__ import annotations

import json
from typing import Any

BYTES, WORDPIECE, METASPACE, PLAIN = "bytes", "wordpiece", "metaspace", "plain"
_ROLES = (
    ("pad_token_id", "pad_token_id"), ("unk_token_id", "unk_token_id"), ("mask_token_id", "mask_token_id"),
    ("cls_token_id", "cls_token_id"), ("cls_token_id", "bos_token_id"), ("bos_token_id", "bos_token_id"),
    ("bos_token_id", "cls_token_id"), ("sep_token_id", "sep_token_id"), ("sep_token_id", "eos_token_id"),
    ("eos_token_id", "eos_token_id"), ("eos_token_id", "sep_token_id"),
)  # fmt: skip


class Spelling:
    """How a fast tokenizer writes its tokens, read from its tokenizer.json.

    kind: `bytes` (`Ġplay`, `ing`, bytes as letters), `wordpiece` (`play`, `##ing`), `metaspace` (`▁play`, `ing`), or
    `plain`.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.backend = tokenizer.backend_tokenizer
        self.vocabulary: dict[str, int] = tokenizer.get_vocab()
        self._unknown = tokenizer.unk_token_id
        held = json.loads(self.backend.to_str())
        parts = json.dumps([held["normalizer"], held["pre_tokenizer"], held["decoder"]])
        self.prefix = ""
        if held["model"]["type"] == "WordPiece":
            self.kind, self.prefix = WORDPIECE, str(held["model"]["continuing_subword_prefix"])
        elif '"ByteLevel"' in parts:
            self.kind = BYTES
        else:
            self.kind = METASPACE if "\\u2581" in parts else PLAIN
        self._numbers = _bytes_of()
        self._letters = {number: letter for letter, number in self._numbers.items()}

    def text_of(self, token: str) -> tuple[str, bool] | None:
        """The characters of a token and whether it begins a word; None for a part of a character.

        WordPiece splits punctuation off words without saying whether a blank stood before: it counts as inside.
        """
        if self.kind == WORDPIECE:
            inside = token.startswith(self.prefix) and len(token) > len(self.prefix)
            text = token.removeprefix(self.prefix) if inside else token
            return text, not inside and text[:1].isalnum()
        if self.kind == BYTES:
            if any(letter not in self._numbers for letter in token):
                return token, True
            try:
                text = bytes(self._numbers[letter] for letter in token).decode()
            except UnicodeDecodeError:
                return None
            return text.removeprefix(" "), text.startswith(" ")
        return token.removeprefix("\u2581"), self.kind == PLAIN or token.startswith("\u2581")

    def pieces(self, text: str, begins: bool) -> list[int]:
        """The ids that these characters split into inside or at the beginning of a word; none for unknown ones."""
        if self.backend.normalizer is not None:
            text = self.backend.normalizer.normalize_str(text).strip("\u2581 ")
        if not text:
            return []
        if self.kind == WORDPIECE:
            return self._word_pieces(text, begins)
        spelt = text
        if self.kind == BYTES:
            spelt = "".join(self._letters[number] for number in f"{' ' * begins}{text}".encode())
        elif self.kind == METASPACE and begins:
            spelt = f"\u2581{text}"
        return self.split(spelt)

    def split(self, spelt: str) -> list[int]:
        """The ids of a token as this vocabulary writes it, or of the pieces that it would be split into."""
        if spelt in self.vocabulary:
            return [self.vocabulary[spelt]]
        return [token.id for token in self.backend.model.tokenize(spelt) if token.id != self._unknown]

    def _word_pieces(self, text: str, begins: bool) -> list[int]:
        splitter = self.backend.pre_tokenizer
        words = [text] if splitter is None else [word for word, _ in splitter.pre_tokenize_str(text)]
        found: list[int] = []
        for place, word in enumerate(words):
            inside = [] if begins or place or not word[0].isalnum() else self._inside(word)
            found += inside or self.split(word)
        return found

    def _inside(self, word: str) -> list[int]:
        """The longest pieces first, as WordPiece does, of what continues a word; none when a character is unknown."""
        found: list[int] = []
        while word:
            end = next((n for n in range(len(word), 0, -1) if f"{self.prefix}{word[:n]}" in self.vocabulary), 0)
            if not end:
                return []
            found.append(self.vocabulary[f"{self.prefix}{word[:end]}"])
            word = word[end:]
        return found


def pieces_of(mine: Any, theirs: Any) -> dict[int, list[int]]:
    """Each id of a tokenizer to the ids of another that its text splits into; special tokens go by their role."""
    roles: dict[int, list[int]] = {}
    for one, two in _ROLES:
        number, other = getattr(mine, one), getattr(theirs, two)
        if number is not None and other is not None:
            roles.setdefault(number, [other])
    source, target = Spelling(mine), Spelling(theirs)
    pieces: dict[int, list[int]] = {}
    for token, number in source.vocabulary.items():
        if number in roles:
            pieces[number] = roles[number]
        elif source.kind == target.kind and (token in target.vocabulary or source.kind == BYTES):
            pieces[number] = target.split(token)
        else:
            told = source.text_of(token)
            pieces[number] = [] if told is None else target.pieces(*told)
    return pieces


def same_tokens(one: Any, two: Any) -> bool:
    """Whether two tokenizers give every text the same ids."""
    return _rules(one) == _rules(two) and one.pad_token_id == two.pad_token_id


def _rules(tokenizer: Any) -> dict[str, Any]:
    held: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: part for name, part in held.items() if name not in ("truncation", "padding")}


def _bytes_of() -> dict[str, int]:
    """The letter that byte-level BPE writes for each byte: itself where it prints, the next one past 255 elsewhere."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [number for number in range(256) if number not in plain]
    return {chr(n): n for n in plain} | {chr(256 + place): n for place, n in enumerate(rest)}
