"""Fast forms of the metrics of label sets, of answers and of retrieval (see `forms.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from compress.bench.quality.answers import Floats
from compress.bench.quality.forms import Finish, Form, Sums, share


def mean_forms(columns: Mapping[str, int], values: NDArray[Any]) -> dict[str, Form]:
    """Means over rows of columns of `values` `[rows, k]`, by name."""
    ones = np.ones(len(values))
    return {name: _mean(np.asarray(values[:, column]), ones) for name, column in columns.items()}


def rank_forms(found: NDArray[Any]) -> dict[str, Form]:
    """`mrr`, `recall@1`, `recall@10` and `ndcg@10` of ranks `[rows]`."""
    values = {
        "mrr": 1 / found,
        "recall@1": found <= 1,
        "recall@10": found <= 10,
        "ndcg@10": np.where(found <= 10, 1 / np.log2(1 + found), 0.0),
    }
    return {name: _mean(np.asarray(column), np.ones(len(found))) for name, column in values.items()}


def label_set_forms(logits: NDArray[Any], labels: NDArray[Any]) -> dict[str, Form]:
    """Micro and macro F1 and the share of exactly right sets, of logits and labels `[rows, c]`."""
    said, true = logits > 0, labels > 0.5
    stats = sparse.csr_matrix(np.concatenate([said & true, said, true], axis=1).astype(np.float64))
    classes = said.shape[1]
    return {
        "f1": Sums(stats, _micro(classes)),
        "macro_f1": Sums(stats, _macro(classes)),
        "exact": _mean((said == true).all(1), np.ones(len(said))),
    }


def _mean(values: NDArray[Any], ones: Floats) -> Sums:
    return Sums(sparse.csr_matrix(np.stack([values.astype(np.float64), ones], axis=1)), share)


def _micro(classes: int) -> Finish:
    def finish(sums: Floats) -> Floats:
        hits, told = sums[:, :classes].sum(1), sums[:, classes:].sum(1)
        return np.asarray(2 * hits / np.maximum(told, 1))

    return finish


def _macro(classes: int) -> Finish:
    """The mean over the labels that occur, said or true."""

    def finish(sums: Floats) -> Floats:
        hits, told = sums[:, :classes], sums[:, classes : 2 * classes] + sums[:, 2 * classes :]
        occurs = told > 0
        return np.asarray((2 * hits / np.maximum(told, 1)).sum(1) / np.maximum(occurs.sum(1), 1))

    return finish
