"""Finding each query's own text among all texts of a split, by the cosine of embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_AT_ONCE = 512


def ranks(queries: np.ndarray, positives: np.ndarray, asked: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """The rank `[n]` of each query's positive among the different texts of the pool, 1 the best.

    queries, positives: `[n, d]` embeddings of `asked` and `texts`, row by row. Other positives of the same query are
    left out, they are no mistakes. Equal similarities share their mean rank, so that a model that says the same of
    every text ranks by chance.
    """
    place = {text: row for row, text in reversed(list(enumerate(texts)))}  # the first row of each text
    number = {text: at for at, text in enumerate(place)}
    pool = _unit(positives[list(place.values())])
    own = np.array([number[text] for text in texts])
    others: dict[str, list[int]] = {}
    for query, text in zip(asked, own, strict=True):
        others.setdefault(query, []).append(int(text))
    found = np.empty(len(asked))
    for start in range(0, len(asked), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(asked)))
        similar = _unit(queries[rows]) @ pool.T
        mine = similar[np.arange(len(rows)), own[rows]].copy()
        for at, row in enumerate(rows.tolist()):
            similar[at, others[asked[row]]] = -np.inf
        # A cosine computed twice may differ in its last digit.
        near = np.abs(similar - mine[:, None]) <= 1e-6
        found[rows] = 1 + ((similar > mine[:, None]) & ~near).sum(1) + near.sum(1) / 2
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    found = vectors.astype(np.float64)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-12))


def retrieval_scores(found: np.ndarray) -> dict[str, float]:
    """`mrr`, `recall@1`, `recall@10` and `ndcg@10` of ranks `[n]`, one right text for each query."""
    gains = np.where(found <= 10, 1 / np.log2(1 + found), 0.0)
    return {
        "mrr": float((1 / found).mean()),
        "recall@1": float((found <= 1).mean()),
        "recall@10": float((found <= 10).mean()),
        "ndcg@10": float(gains.mean()),
    }
