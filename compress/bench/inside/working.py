"""Answers that are not timed, for the memory peak, and how long the texts are."""

from __future__ import annotations

from typing import Any

from compress.bench.inside import memory, timeline
from compress.bench.inside.state import State
from compress.runtime.inputs import read_inputs


def answer(state: State, rows: list[list[int]]) -> dict[str, Any]:
    """Answer requests of those rows and read memory after them; `timeline`: all points since the process started."""
    with timeline.stage(state, "answer"):
        for request in rows:
            state.student.predict([state.rows[index] for index in request], batch_size=len(request))
        state.synchronize()
    return {"memory": memory.read(), "gpu": memory.gpu(state), "timeline": state.timeline}


def lengths(state: State) -> dict[str, float]:
    """The mean number of tokens of a text, special ones included, cut to what the model takes."""
    student = state.student
    encodings = student.encoder.encode(read_inputs(state.rows, student.task, None))
    return {"mean": sum(len(one.ids) for one in encodings) / len(encodings)}
