"""One number for a text or for a pair of texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from scipy.stats import pearsonr, spearmanr
from torch import Tensor
from torch.nn import functional

from compress.tasks.base import TASKS, Features, Row, Task
from compress.tasks.batch import finite, labelled, pad, text_of, tokenized


@TASKS.register("regress")
class Regress(Task):
    """Regression of one score: Spearman and Pearson correlation, mean squared error."""

    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    output: ClassVar[str] = "value"
    metric: ClassVar[str] = "spearman"

    text: str = Field("text", description="column of the text")
    text_pair: str | None = Field(None, description="column of the second text, for pairs")
    target: str = Field("score", description="column of the score, a number")

    def sources(self) -> dict[str, str]:
        """Normalised column to source column."""
        pair = {} if self.text_pair is None else {"text_pair": self.text_pair}
        return {"text": self.text, **pair, "score": self.target}

    def label_values(self, row: Row) -> list[Any]:
        """None: a score is no label."""
        return []

    def normalise(self, row: Row, index: Mapping[Any, int]) -> dict[str, Any]:
        """`text`, `text_pair` when there is one, and `score` as a finite number. Raises ValueError for other rows.

        A row without the score column stays without (unlabelled text).
        """
        out: dict[str, Any] = {"text": text_of(row, self.text)}
        if self.text_pair is not None:
            out["text_pair"] = text_of(row, self.text_pair)
        if self.target in row:
            out["score"] = number_of(row[self.target], self.target)
        return out

    def encode(self, tokenizer: Any, rows: Mapping[str, Sequence[Any]], max_length: int) -> Features:
        """Token ids of texts or pairs, and `labels` (float) when the rows have scores."""
        features = tokenized(tokenizer, rows["text"], rows.get("text_pair"), max_length)
        if "score" in rows:
            features["labels"] = [float(value) for value in rows["score"]]
        return features

    def collate(
        self, features: Sequence[Mapping[str, Any]], pad_id: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """A batch padded to its longest row; every row's output counts, `labels` are `[b]` float32."""
        batch = pad(features, pad_id)
        batch["outputs"] = torch.ones(len(features), dtype=torch.bool)
        if "labels" in features[0]:
            batch["labels"] = torch.tensor([row["labels"] for row in features], dtype=torch.float32)
        return batch

    def hard_loss(self, logits: Tensor, labels: Tensor, outputs: Tensor) -> Tensor:
        """Mean squared error of logits `[b, 1]` and labels `[b]` over the labelled outputs that count; 0 for none."""
        counted = outputs & labelled(labels)
        if not counted.any():
            return logits.sum() * 0.0
        return functional.mse_loss(logits.squeeze(-1)[counted].float(), labels[counted])

    def score(self, logits: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, float]:
        """`spearman`, `pearson` and `mse` of logits `[n, 1]`. Raises JobError for NaN logits."""
        predicted = finite(logits, "logits")[:, 0].astype(np.float64)
        truth = labels.astype(np.float64)
        return {
            "spearman": correlation(spearmanr, predicted, truth),
            "pearson": correlation(pearsonr, predicted, truth),
            "mse": float(np.mean((predicted - truth) ** 2)),
        }

    def chance(self, labels: np.ndarray) -> float:
        """Correlation of a constant prediction, taken as 0."""
        return 0.0


def correlation(measure: Any, predicted: np.ndarray, truth: np.ndarray) -> float:
    """`spearmanr` or `pearsonr` of two arrays `[n]`; 0 where it is not defined."""
    # A correlation with a constant is not defined (scipy gives NaN and a warning). A constant orders nothing, which
    # is what 0 says, and 0 fails a comparison with the teacher where NaN would pass through unseen.
    if len(truth) < 2 or np.ptp(predicted) == 0 or np.ptp(truth) == 0:
        return 0.0
    value = float(measure(predicted, truth).statistic)
    return value if math.isfinite(value) else 0.0


def number_of(value: Any, column: str) -> float:
    """A cell as a finite number. Raises ValueError with the column for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, np.number)):
        raise ValueError(f"column {column!r}: expected a number, came {type(value).__name__} {value!r}"[:120])
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"column {column!r}: {value!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"column {column!r}: the score is {number}, expected a finite number")
    return number
