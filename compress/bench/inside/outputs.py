"""The outputs that quality is scored on: those of timed requests, read on the way from the engine to the answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress.bench.inside.state import State
from compress.bench.inside.timing import timed
from compress.runtime.inputs import read_inputs
from compress.runtime.prediction import Found


def answer(state: State, rows: list[list[int]], out: str, together: bool = True) -> dict[str, list[float]]:
    """Answer requests of those rows with `predict`, timed like every request; write what they were read from to `out`.

    together: a request is one batch, padded to its longest text, as in the latency cells of the corpus mix; otherwise
    the student batches it as it does for an app: one by one where rows would change each other (int8). `out` is an
    .npz of `rows` `[r]`, `counts` `[r]`, `values` `[n, c]` and `words` `[n]`. counts: how many of the outputs belong
    to each row: the words of a tagged text that the model saw, both texts of a pair to embed, else 1. words: the
    number of each output's word in its text, else 0.
    """
    kept: dict[int, np.ndarray] = {}
    durations: list[float] = []
    for request in rows:
        texts = [state.rows[index] for index in request]
        found: list[Any] = []

        def call(texts: list[Any] = texts, found: list[Any] = found) -> None:
            found.extend(state.student.answers(texts, batch_size=len(texts) if together else None))

        durations.append(timed(call, state.synchronize))
        kept.update((index, _kept(*answer)) for index, answer in zip(request, found, strict=True))
    _write(state, kept, out)
    return {"durations": durations}


def _kept(prediction: Any, outputs: np.ndarray) -> np.ndarray:
    """The raw outputs; of an answer, which has them for every token of every window, the characters that it names."""
    if isinstance(prediction, Found):
        # NaN stays NaN, so that no metric is made of a broken student.
        edges: np.ndarray = np.array([prediction.start, prediction.end]) + 0.0 * outputs.sum()
        return edges
    return np.array(outputs)


def _write(state: State, kept: dict[int, np.ndarray], out: str) -> None:
    found = [np.atleast_2d(outputs) for outputs in kept.values()]
    words = [np.zeros(len(one), dtype=np.int64) for one in found]
    student = state.student
    if student.task == "tag":
        texts = read_inputs([state.rows[index] for index in kept], student.task, None)
        for place, encoding in enumerate(student.encoder.encode(texts)):
            words[place], tokens = first_tokens(encoding.word_ids)
            found[place] = found[place][tokens]
    np.savez(
        out,
        rows=np.array(list(kept), dtype=np.int64),
        counts=np.array([len(one) for one in found], dtype=np.int64),
        values=np.concatenate(found).astype(np.float32),
        words=np.concatenate(words),
    )


def first_tokens(word_ids: list[int | None]) -> tuple[np.ndarray, np.ndarray]:
    """The words that a text kept, and the place of each one's first token."""
    first: dict[int, int] = {}
    for place, word in enumerate(word_ids):
        if word is not None:
            first.setdefault(word, place)
    return np.array(list(first), dtype=np.int64), np.array(list(first.values()), dtype=np.int64)
