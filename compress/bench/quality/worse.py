"""The rows whose answer lost or gained most, where an answer is more than one label: spans, label sets, numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compress.bench.quality.answers import Floats, Row
from compress.bench.quality.scored import Scored

LONGEST = 120


def worth(rows: Sequence[Row], scored: Scored) -> Floats:
    """How good each answer `[rows]` is, larger is better, up to 0 or 1."""
    outputs = scored.answers.outputs
    if "answers" in rows[0]:
        return np.array([one[0, 1] for one in outputs], dtype=np.float64)  # F1 of the span
    if "labels" in rows[0]:
        said = np.concatenate(outputs) > 0
        true = np.array([row["labels"] for row in rows]) > 0
        return np.asarray((said == true).mean(1), dtype=np.float64)
    gold = np.concatenate(scored.answers.truth).astype(np.float64)
    said = np.array([float(one[0, 0]) for one in outputs])
    if not np.isnan(gold).any():
        return np.asarray(-np.abs(said - gold), dtype=np.float64)
    return np.asarray(1 / said, dtype=np.float64)  # the rank of what should be found


def gold_text(rows: Sequence[Row], row: int, labels: Sequence[str], scored: Scored) -> str:
    """What is right for a row."""
    if "answers" in rows[row]:
        return _cut(str(rows[row]["answers"][0]["text"]))
    if "labels" in rows[row]:
        return _names(np.asarray(rows[row]["labels"]) > 0, labels)
    gold = float(scored.answers.truth[row][0])
    return "rank 1" if np.isnan(gold) else f"{gold:.4g}"


def said_text(rows: Sequence[Row], row: int, labels: Sequence[str], scored: Scored) -> str:
    """What a subject said of a row."""
    output = scored.answers.outputs[row]
    if "answers" in rows[row]:
        start, end = output[0, 2:4]
        return _cut(rows[row]["context"][int(start) : int(end)])
    if "labels" in rows[row]:
        return _names(output[0] > 0, labels)
    gold = float(scored.answers.truth[row][0])
    return f"rank {output[0, 0]:g}" if np.isnan(gold) else f"{output[0, 0]:.4g}"


def _names(said: np.ndarray, labels: Sequence[str]) -> str:
    return ", ".join(name for name, one in zip(labels, said, strict=True) if one) or "(none)"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def fallen(rows: Sequence[Row], labels: Sequence[str], mine: Scored, theirs: Scored) -> list[dict[str, Any]]:
    """Rows whose answer is worth less than the reference's, the worst fall first, each with what both said."""
    fall = worth(rows, theirs) - worth(rows, mine)
    return [
        {
            "row": int(row),
            "label": gold_text(rows, row, labels, mine),
            "reference": said_text(rows, row, labels, theirs),
            "subject": said_text(rows, row, labels, mine),
        }
        for row in np.argsort(-fall, kind="stable").tolist()
        if fall[row] > 0
    ]
