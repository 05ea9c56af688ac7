"""Answers that are not timed: for the memory peak, and the outputs of every row for quality."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress.bench.inside import memory
from compress.bench.inside.state import State
from compress.runtime.inputs import read_inputs


def answer(state: State, rows: list[list[int]]) -> dict[str, Any]:
    """Answer requests of those rows and read memory after them."""
    for request in rows:
        state.student.predict([state.rows[index] for index in request], batch_size=len(request))
    state.synchronize()
    return {"memory": memory.read(), "gpu": memory.gpu(state)}


def logits(state: State, out: str) -> dict[str, Any]:
    """Write the outputs of every row to `out`, an .npz of `values` `[n, c]`, `counts` `[rows]` and `words` `[n]`.

    counts: how many of the outputs belong to each row: the words of a tagged text that the model saw, else 1. words:
    the number of each output's word in its text, else 0.
    """
    student = state.student
    found = [np.atleast_2d(one) for one in student.logits(state.rows)]
    words = [np.zeros(len(one), dtype=np.int64) for one in found]
    if student.task == "tag":
        for row, encoding in enumerate(student.encoder.encode(read_inputs(state.rows, student.task, None))):
            words[row], places = _first_tokens(encoding.word_ids)
            found[row] = found[row][places]
    np.savez(
        out,
        values=np.concatenate(found),
        counts=np.array([len(one) for one in found], dtype=np.int64),
        words=np.concatenate(words),
    )
    return {"rows": len(found)}


def _first_tokens(word_ids: list[int | None]) -> tuple[np.ndarray, np.ndarray]:
    """The words that a text kept, and the place of each one's first token."""
    first: dict[int, int] = {}
    for place, word in enumerate(word_ids):
        if word is not None:
            first.setdefault(word, place)
    return np.array(list(first), dtype=np.int64), np.array(list(first.values()), dtype=np.int64)
