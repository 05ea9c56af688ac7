"""What the tasks share: padding to the longest row, reading texts and labels, refusing NaN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compress.core.errors import JobError
from compress.tasks.ragged import IDS, SMALL, Kind, Ragged

IGNORED = -100
AT_ONCE = 1000  # rows; not under `CHUNK` of distill/readings.py, which looks for its rows in one call
_TOLD: dict[str, Kind] = {"input_ids": IDS, "token_type_ids": SMALL, "special_tokens_mask": SMALL}


def pad(features: Sequence[Mapping[str, Any]], pad_id: int) -> dict[str, Tensor]:
    """`input_ids`, `attention_mask` and, when given, `token_type_ids`, all `[b, s]` int64.

    s: the longest row; of features that say how many tokens a row may have (`most`), the next `width_of` it.
    """
    rows = [row["input_ids"] for row in features]
    longest = max(len(row) for row in rows)
    width = width_of(longest, features[0].get("most", longest))
    lengths = torch.tensor([len(row) for row in rows])
    batch = {
        "input_ids": padded(rows, width, pad_id),
        "attention_mask": (torch.arange(width)[None, :] < lengths[:, None]).long(),
    }
    if "token_type_ids" in features[0]:
        batch["token_type_ids"] = padded([row["token_type_ids"] for row in features], width, 0)
    return batch


def width_of(longest: int, most: int) -> int:
    """Tokens that a batch is padded to: beyond 16 an even number, beyond 32 a multiple of four, at most `most`.

    Math libraries make a kernel for every shape of every product, and keep it: fewer shapes cost less time and memory
    than the few tokens that are added.
    """
    step = 1 if longest <= 16 else 2 if longest <= 32 else 4
    return max(longest, min(most, longest + -longest % step))


def padded(rows: Sequence[Sequence[int]], width: int, fill: int) -> Tensor:
    """Rows of unequal length as one `[b, width]` int64 tensor."""
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=torch.long)


def tokenized(
    tokenizer: Any, first: Sequence[Any], second: Sequence[Any] | None, max_length: int, *, special: bool = False
) -> dict[str, Sequence[Any]]:
    """Token ids of texts or pairs cut to `max_length` (pairs lose from the longer text first), without padding.

    special: `special_tokens_mask` too, 1 for each token that the tokenizer added.
    """
    found: dict[str, Sequence[Any]] = {}
    for some in at_once(len(first)):
        pairs = {} if second is None else {"text_pair": list(second[some])}
        encoded = tokenizer(
            list(first[some]), **pairs, truncation=True, max_length=max_length, padding=False,
            return_special_tokens_mask=special,
        )  # fmt: skip
        gather(found, encoded)
    return found


def gather(columns: dict[str, Sequence[Any]], encoded: Mapping[str, Any]) -> None:
    """Put what a tokenizer said of some more rows behind what it said of others, as flat arrays."""
    for name, kind in _TOLD.items():
        if name in encoded:
            column = columns.setdefault(name, Ragged(kind=kind))
            assert isinstance(column, Ragged)
            column.extend(encoded[name])


def at_once(rows: int) -> Iterator[slice]:
    """Slices of so many rows that are given to a tokenizer together.

    What it keeps of a text besides the ids (offsets, words, the token's own text) takes several times their memory.
    """
    for start in range(0, rows, AT_ONCE):
        yield slice(start, start + AT_ONCE)


def labelled(labels: Tensor) -> Tensor:
    """Bool of the same shape: false where a label is unknown, -100 (or less, see `tag`) for classes, NaN for scores."""
    return ~labels.isnan() if labels.is_floating_point() else labels > IGNORED


def text_of(row: Mapping[str, Any], column: str) -> str:
    """A text column. Raises ValueError when it is no text or has nothing in it."""
    value = row.get(column)
    if not isinstance(value, str):
        came = "nothing" if value is None else f"{type(value).__name__} {value!r}"[:60]
        raise ValueError(f"column {column!r}: expected a text, came {came}")
    if not value.strip():
        raise ValueError(f"column {column!r}: the text is empty")
    return value


def label_of(value: Any, column: str, index: Mapping[Any, int]) -> int:
    """The index of a raw label. Raises ValueError for one that the index does not hold."""
    try:
        return index[value]
    except (KeyError, TypeError):
        known = ", ".join(repr(name) for name in list(index)[:10])
        raise ValueError(f"column {column!r}: {value!r} is not a known label (known: {known})") from None


def finite(values: np.ndarray, what: str) -> np.ndarray:
    """The same values. Raises JobError when one of them is NaN or infinite, so that no metric is made of it."""
    bad = int(np.size(values) - np.isfinite(values).sum())
    if bad:
        raise JobError(
            f"{bad} of {np.size(values)} {what} are NaN or infinite; lower the learning rate, or train in fp32"
        )
    return values
