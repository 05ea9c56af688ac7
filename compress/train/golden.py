"""Golden outputs: inputs with the logits that a student gave when it was saved, so that a copy can prove itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.core.artifact import write_json
from compress.core.errors import JobError

GOLDEN = "golden.json"
_WIDE = 512  # more columns than this are a vocabulary; see `summary`


def write_golden(
    folder: Path, student_logits: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], tolerance: float
) -> None:
    """Write `golden.json`: `tolerance` (largest absolute difference allowed), `inputs`, `outputs`.

    rows: what a student is asked (`inputs_for`). student_logits: one array for each, `[c]` (classify, regress), `[d]`
    (embed) or `[s, c]` (tag, mask, answer; every token, no padding, windows one after the other),
    each computed on its row alone: int8 activations are scaled over a whole batch, so neighbours would change them.
    Raises JobError for no rows and for logits that are NaN or infinite.
    """
    if not rows or len(rows) != len(student_logits):
        raise JobError(f"golden outputs need one output per row, came {len(rows)} rows, {len(student_logits)} outputs")
    for number, logits in enumerate(student_logits):
        if not np.isfinite(logits).all():
            raise JobError(f"the student's logits of golden row {number} are NaN or infinite; it cannot be saved")
    outputs = [summary(np.asarray(logits, dtype=np.float64)).tolist() for logits in student_logits]
    write_json(folder / GOLDEN, {"tolerance": tolerance, "inputs": [dict(row) for row in rows], "outputs": outputs})


def summary(logits: np.ndarray) -> np.ndarray:
    """Logits as they are stored: whole, or for a vocabulary `[s, v]` its largest and mean logit for each token."""
    if logits.ndim < 2 or logits.shape[-1] <= _WIDE:
        return logits
    return np.stack([logits.max(-1), logits.mean(-1)], axis=-1)
