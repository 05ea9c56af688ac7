"""A table of word vectors, and the words nearest to a vector or to one of its words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from compress.core.errors import InputError
from compress.corpora.augment.base import Words

MOST_WORDS = 200_000
_CELLS = 1 << 24  # similarities held at once


class WordVectors:
    """words: `[n]`. vectors: `[n, d]`; nearness is the cosine once their mean is taken off.

    What all share (in a model's input embeddings, a good part of their length) would hide what tells words apart.
    """

    def __init__(self, words: Sequence[str], vectors: np.ndarray) -> None:
        self.words = list(words)
        self._rows = {word: row for row, word in reversed(list(enumerate(self.words)))}
        self._mean = vectors.mean(0, dtype=np.float64).astype(np.float32)
        self._table = _unit(vectors.astype(np.float32) - self._mean)

    def vector(self, word: str) -> np.ndarray | None:
        """The vector `[d]` of a word, or of its lower case, mean taken off; None for an unknown word."""
        row = self._rows.get(word, self._rows.get(word.casefold()))
        if row is None:
            return None
        found: np.ndarray = self._table[row]
        return found

    def centred(self, vector: np.ndarray) -> np.ndarray:
        """A vector `[d]` from elsewhere in the same space, of length 1, the mean taken off."""
        found: np.ndarray = _unit(vector[None].astype(np.float32) - self._mean)[0]
        return found

    def nearest(self, words: Sequence[str], vectors: Sequence[np.ndarray | None], count: int) -> list[Words]:
        """For each word with its vector: the `count` nearest words other than itself; none where there is no vector."""
        found: list[Words] = [[] for _ in words]
        known = {place: vector for place, vector in enumerate(vectors) if vector is not None}
        most = min(count + 3, len(self.words))  # the word itself may stand in the table in several cases
        size = max(1, _CELLS // len(self.words))
        for start in range(0, len(known), size):
            block = list(known)[start : start + size]
            near = np.stack([known[place] for place in block]) @ self._table.T
            best = np.argpartition(-near, most - 1, axis=1)[:, :most]
            for at, place in enumerate(block):
                order = best[at][np.lexsort((best[at], -near[at, best[at]]))]
                others = [self.words[row] for row in order]
                found[place] = [word for word in others if word.casefold() != words[place].casefold()][:count]
        return found


def read_vectors(path: Path) -> WordVectors:
    """Word vectors in word2vec's text format (`word number number ...`, with or without the line that counts them).

    The first 200 000 words are read; such files begin with the most frequent ones. Raises InputError with the line.
    """
    words: Words = []
    rows: list[np.ndarray] = []
    for number, fields in _lines(path):
        if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
            continue
        try:
            row = np.array(fields[1:], dtype=np.float32)
        except ValueError:
            raise InputError(f"{path}:{number}: expected a word and numbers, came {' '.join(fields)[:60]!r}") from None
        if len(row) < 2 or (rows and len(row) != len(rows[0])) or not np.isfinite(row).all():
            expected = f"{len(rows[0])} finite numbers" if rows else "at least 2 finite numbers"
            raise InputError(f"{path}:{number}: expected a word and {expected}, came {len(row)} numbers")
        if any(map(str.isalpha, fields[0])):
            words.append(fields[0])
            rows.append(row)
    if len(words) < 2:
        raise InputError(f"{path}: holds {len(words)} words; expected lines of a word and its numbers (word2vec text)")
    return WordVectors(words, np.stack(rows))


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                if number > MOST_WORDS + 1:
                    return
                if line.strip():
                    yield number, line.rstrip().split(" ")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as word vectors in text form ({error})") from error


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; what has no direction stays 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: np.ndarray = vectors / np.maximum(lengths, 1e-12)
    return scaled
