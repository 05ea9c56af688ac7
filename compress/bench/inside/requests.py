"""What one request holds, and how much of it is padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compress.bench.inside.state import State
from compress.runtime.inputs import Input, read_inputs

Batch = dict[str, np.ndarray]
MOST_CHARACTERS = 12  # for each token: enough in every language, and an end to joining where words have no spaces


def padding_share(state: State, requests: Sequence[Sequence[Any]]) -> float:
    """The share of padding in what the engine sees of these requests, each padded to its longest text."""
    student = state.student
    real = seen = 0
    for request in requests:
        parts = student.encoder.parts(read_inputs(request, student.task, None))
        lengths = [len(one.ids) for own in parts for one in own]
        real += sum(lengths)
        seen += max(lengths) * len(lengths)
    return 1 - real / seen


def padding_of(batches: Sequence[Batch]) -> float:
    """The share of masked places in batches that are made."""
    masks = [batch["attention_mask"] for batch in batches if "attention_mask" in batch]
    return 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.size for mask in masks) if masks else 0.0


def exact(state: State, starts: Sequence[int], length: int) -> Batch:
    """A batch `[len(starts), length]` of corpus text: rows joined from each start on, cut to `length` tokens.

    Raises ValueError when the corpus has not enough text for that length.
    """
    encoder = state.student.encoder
    usual = encoder.tokenizer.truncation
    encoder.tokenizer.enable_truncation(length)
    try:
        encodings = encoder.encode([Input(_joined(state, start, length)) for start in starts])
    finally:
        encoder.tokenizer.enable_truncation(**usual)
    short = min(len(one.ids) for one in encodings)
    if short < length:
        raise ValueError(f"the corpus text gives only {short} tokens where {length} were asked for")
    return encoder.batch(encodings)


def _joined(state: State, start: int, length: int) -> str:
    """Text of at least `length` words or `12 * length` characters, from the row `start` on and around the end."""
    parts: list[str] = []
    words = characters = 0
    while words < length and characters < MOST_CHARACTERS * length:
        parts.append(_text(state.rows[(start + len(parts)) % len(state.rows)]))
        words += max(len(parts[-1].split()), 1)
        characters += len(parts[-1])
    return " ".join(parts)


def _text(row: Any) -> str:
    if isinstance(row, str):
        return row
    return " ".join(row.values() if isinstance(row, dict) else row)
