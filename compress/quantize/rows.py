"""Symmetric int8 of a matrix, one scale for each row."""

from __future__ import annotations

import numpy as np

LARGEST = 127
_SMALLEST_SCALE = 1e-12


def quantize_rows(weights: np.ndarray, largest: int = LARGEST) -> tuple[np.ndarray, np.ndarray]:
    """Int8 rows and float32 scales `[rows]` so that `rows * scales[:, None]` is close to `weights` `[rows, d]`.

    largest: the greatest magnitude used, 127, or 63 where products are summed in 16 bits.
    """
    scales = np.maximum(np.abs(weights).max(axis=1) / largest, _SMALLEST_SCALE).astype(np.float32)
    rows = np.clip(np.rint(weights / scales[:, None]), -largest, largest)
    return rows.astype(np.int8), scales


def same_rows(weights: np.ndarray, rows: np.ndarray, scales: np.ndarray) -> bool:
    """Whether int8 rows with these scales are a rounding of `weights`: each within half a step and a little more."""
    return bool((np.abs(rows * scales[:, None] - weights) <= 0.51 * scales[:, None] + 1e-9).all())
