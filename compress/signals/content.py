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
    more = {name: batch[name].cpu().numpy() for name in ("token_type_ids", "allowed") if name in batch}
    digests = [
        _digest(ids[row][kept], **{name: one[row][kept] for name, one in more.items()}) for row, kept in enumerate(real)
    ]
    return np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2).astype(np.uint64, copy=False)


def _digest(ids: Any, token_type_ids: Any = None, allowed: Any = None) -> bytes:
    """Token types that are all zero are as none: a tokenizer that leaves them out means the same row.

    allowed: which tokens may answer, without which a question and a context that meet elsewhere would be the same row
    to a tokenizer that puts nothing between them.
    """
    told = hashlib.blake2b(np.asarray(ids, dtype="<i4").tobytes(), digest_size=16)
    if token_type_ids is not None and np.any(token_type_ids):
        told.update(b"|types|" + np.asarray(token_type_ids, dtype="<i4").tobytes())
    if allowed is not None:
        told.update(b"|allowed|" + np.asarray(allowed, dtype="<i1").tobytes())
    return told.digest()
