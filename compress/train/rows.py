"""A row as a saved student takes it: what is given to the model for it, once by transformers and once by tokenizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from compress.runtime.spans import overlap

COLUMNS = ("text", "text_pair", "tokens", "question", "context")
Encoded = list[dict[str, list[int]]]


def inputs_for(task: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a student of this task is asked for each normalised row; an embedding is asked of the first text alone."""
    names = COLUMNS if task != "embed" else ("text",)
    return [{name: row[name] for name in names if row.get(name) is not None} for row in rows]


def encode_row(
    tokenizer: Any, row: Mapping[str, Any], inputs: Sequence[str], max_length: int, task: Mapping[str, Any]
) -> Encoded:
    """Model inputs of one row without padding, by transformers: one for each window of a long context, else one."""
    first, second, words = _texts(row)
    if "context" not in row:
        encoded = tokenizer(first, second, is_split_into_words=words, truncation=True, max_length=max_length)
        return [{name: list(encoded[name]) for name in inputs}]
    encoded = tokenizer(
        first, second, truncation="only_second", max_length=max_length, stride=_stride(task, max_length),
        return_overflowing_tokens=True,
    )  # fmt: skip
    return [{name: list(encoded[name][window]) for name in inputs} for window in range(len(encoded["input_ids"]))]


def bare_ids(tokenizer: Tokenizer, row: Mapping[str, Any], max_length: int, task: Mapping[str, Any]) -> list[list[int]]:
    """The token ids of the same by the tokenizers library alone."""
    first, second, words = _texts(row)
    if "context" not in row:
        tokenizer.enable_truncation(max_length, strategy="longest_first")
        return [list(tokenizer.encode(first, second, is_pretokenized=words).ids)]
    tokenizer.enable_truncation(max_length, strategy="only_second", stride=_stride(task, max_length))
    encoded = tokenizer.encode(first, second)
    return [list(one.ids) for one in (encoded, *encoded.overflowing)]


def tensors(encoded: Mapping[str, list[int]]) -> dict[str, Tensor]:
    """One encoded input as a batch of one, `[1, s]`."""
    return {name: torch.tensor([ids]) for name, ids in encoded.items()}


def _stride(task: Mapping[str, Any], max_length: int) -> int:
    (options,) = task.values()
    return overlap(int(options["stride"]), max_length)


def _texts(row: Mapping[str, Any]) -> tuple[Any, Any, bool]:
    if "tokens" in row:
        return list(row["tokens"]), None, True
    if "context" in row:
        return row["question"], row["context"], False
    return row["text"], row.get("text_pair"), False
