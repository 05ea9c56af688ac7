"""Rows by content: one 128-bit key for the token ids of a row, whatever its place in a corpus, an epoch or a batch.

A key that came from a step or a position would give a row its neighbour's signals after a shuffle, an accumulation, an
augmentation or a resume, and nothing would say so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

Keys = np.ndarray[Any, np.dtype[np.uint64]]


def batch_keys(batch: Mapping[str, Tensor]) -> Keys:
    """Keys `[b, 2]` of the rows of a padded batch; padding and neighbours do not count."""
    real = batch["attention_mask"].bool().cpu().numpy()
    ids = batch["input_ids"].cpu().numpy()
    types = batch["token_type_ids"].cpu().numpy() if "token_type_ids" in batch else None
    digests = [_digest(ids[row][kept], None if types is None else types[row][kept]) for row, kept in enumerate(real)]
    return np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2).astype(np.uint64, copy=False)


def _digest(ids: Any, types: Any) -> bytes:
    """Token types that are all zero are as none: a tokenizer that leaves them out means the same row."""
    told = hashlib.blake2b(np.asarray(ids, dtype="<i4").tobytes(), digest_size=16)
    if types is not None and np.any(types):
        told.update(b"|types|" + np.asarray(types, dtype="<i4").tobytes())
    return told.digest()
