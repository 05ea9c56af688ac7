"""Which words stand between the same neighbours, over the training texts."""

from __future__ import annotations

from array import array
from bisect import bisect
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

import numpy as np
from scipy import sparse

from compress.corpora.augment.base import Words

EDGE = ""
MOST_TEXTS = 200_000
LEAST_SHARED = 2
BUSIEST = 200
KEPT = 30
_BLOCK = 1000


class Contexts:
    """Substitutes of a word: other words of the texts that stood between the same two neighbours.

    A place is a left and a right neighbour, whatever their case, or one neighbour and an edge of the text. Two words
    are substitutes when they share at least two places; one is drawn in proportion to the cosine of their places,
    where a place counts 1 / log2(1 + words that stood there). Places where more than 200 words stood tell nothing
    apart and are left out, and so is what has no letter. Of more than 200 000 texts every second, third, .. is read.
    """

    def __init__(self, texts: Sequence[Words]) -> None:
        words, stood = _stood(texts[:: 1 + len(texts) // MOST_TEXTS])
        self._substitutes: dict[str, tuple[Words, list[float]]] = {}
        for start in range(0, len(words), _BLOCK):
            for word, others, weights in _nearest(words, stood, start, min(start + _BLOCK, len(words))):
                self._substitutes[word] = ([words[other] for other in others], list(accumulate(weights)))

    def substitute(self, word: str, chance: Callable[[], float]) -> str:
        """Another word, or the word itself when it has no substitute."""
        found = self._substitutes.get(word)
        if found is None:
            return word
        others, sums = found
        return others[bisect(sums, chance() * sums[-1], hi=len(others) - 1)]


def _stood(texts: Iterable[Words]) -> tuple[Words, sparse.csr_array]:
    """The words, and `[words, places]`: the cosine-normalised weight of each place where a word stood."""
    numbers: dict[str, int] = {}
    places: dict[tuple[str, str], int] = {}
    pairs = array("q")
    for text in texts:
        folded = [EDGE, *(word.casefold() for word in text), EDGE]
        for at, word in enumerate(text if len(text) > 1 else ()):
            if not any(map(str.isalpha, word)):
                continue
            place = places.setdefault((folded[at], folded[at + 2]), len(places))
            pairs.extend((numbers.setdefault(word, len(numbers)), place))
    cells = np.unique(np.array(pairs, dtype=np.int64).reshape(-1, 2), axis=0)
    busy = np.bincount(cells[:, 1], minlength=len(places))
    weight = np.where((busy > 1) & (busy <= BUSIEST), 1 / np.log2(1 + np.maximum(busy, 1)), 0.0)
    table = sparse.csr_array(
        (weight[cells[:, 1]], (cells[:, 0], cells[:, 1])), shape=(len(numbers), len(places)), dtype=np.float64
    )
    lengths = np.sqrt(table.multiply(table).sum(axis=1))
    table = sparse.csr_array(table.multiply(1 / np.maximum(lengths, 1e-12)[:, None]))
    table.eliminate_zeros()
    return list(numbers), table


def _nearest(
    words: Words, stood: sparse.csr_array, start: int, stop: int
) -> Iterable[tuple[str, list[int], list[float]]]:
    """Word, its substitutes and their weights, for the words from `start` to `stop`."""
    block, other = stood[start:stop], stood.T
    shared = sparse.csr_array(block.astype(bool).astype(np.int32) @ other.astype(bool).astype(np.int32))
    cosine = sparse.csr_array(block @ other)
    shared.sort_indices()
    cosine.sort_indices()
    for row in range(stop - start):
        span = slice(cosine.indptr[row], cosine.indptr[row + 1])
        columns, near = cosine.indices[span], cosine.data[span]
        enough = (shared.data[span] >= LEAST_SHARED) & (columns != start + row)
        columns, near = columns[enough], near[enough]
        best = np.argsort(-near, kind="stable")[:KEPT]
        if len(best):
            yield words[start + row], columns[best].tolist(), near[best].tolist()
