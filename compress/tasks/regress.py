"""One number for a text or for a pair of texts; of texts that compete for a query, also their order."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from scipy.stats import NearConstantInputWarning, pearsonr, spearmanr
from torch import Tensor
from torch.nn import functional

from compress.tasks.base import TASKS, Features, Row, Task
from compress.tasks.batch import finite, labelled, pad, text_of, tokenized
from compress.tasks.rankings import ranking_scores


@TASKS.register("regress")
class Regress(Task):
    """Regression of one score: Spearman and Pearson correlation, mean squared error.

    With `group` the rows of one group are candidates that compete (the passages of a query), and the order inside the
    groups is measured too: Spearman of each group, nDCG@10, MRR@10. Losses on rankings read the groups. Without scores
    (`target: null`) a corpus teaches nothing by itself; a student can follow a teacher's scores on it.
    """

    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    output: ClassVar[str] = "value"

    text: str = Field("text", description="column of the text")
    text_pair: str | None = Field(None, description="column of the second text, for pairs")
    target: str | None = Field("score", description="column of the score, a number; null: the rows have none")
    group: str | None = Field(
        None, description="column that says which rows belong together, such as the id of the query (text or integer)"
    )

    @property
    def metric(self) -> str:  # type: ignore[override]
        """Spearman's correlation: over all rows, or with `group` the mean of each group's own."""
        return "spearman" if self.group is None else "group_spearman"

    @property
    def labelled(self) -> bool:  # type: ignore[override]
        """Whether rows have scores."""
        return self.target is not None

    @property
    def scorable(self) -> bool:
        """Rows with scores can be scored."""
        return self.target is not None

    @property
    def grouped(self) -> bool:
        """Whether rows belong to groups."""
        return self.group is not None

    def sources(self) -> dict[str, str]:
        """Normalised column to source column."""
        named = {"text_pair": self.text_pair, "score": self.target, "group": self.group}
        return {"text": self.text, **{name: column for name, column in named.items() if column is not None}}

    def label_values(self, row: Row) -> list[Any]:
        """None: a score is no label."""
        return []

    def normalise(self, row: Row, index: Mapping[Any, int]) -> dict[str, Any]:
        """`text`, `text_pair` and `group` when they are named, `score` as a finite number.

        A row without the score column stays without (unlabelled text). Raises ValueError for a row that cannot be used.
        """
        out: dict[str, Any] = {"text": text_of(row, self.text)}
        if self.text_pair is not None:
            out["text_pair"] = text_of(row, self.text_pair)
        if self.target is not None and self.target in row:
            out["score"] = number_of(row[self.target], self.target)
        if self.group is not None:
            out["group"] = group_name(row.get(self.group), self.group)
        return out

    def encode(self, tokenizer: Any, rows: Mapping[str, Sequence[Any]], max_length: int) -> Features:
        """Token ids of texts or pairs, `labels` (float) when the rows have scores, `group` when they belong to one."""
        features = tokenized(tokenizer, rows["text"], rows.get("text_pair"), max_length)
        if "score" in rows:
            features["labels"] = [float(value) for value in rows["score"]]
        if "group" in rows:
            features["group"] = list(rows["group"])
        return features

    def collate(
        self, features: Sequence[Mapping[str, Any]], pad_id: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """A batch padded to its longest row; every row's output counts, `labels` are `[b]` float32.

        `groups` `[b]`: rows of one group carry the same number, which means nothing outside the batch.
        """
        batch = pad(features, pad_id)
        batch["outputs"] = torch.ones(len(features), dtype=torch.bool)
        if "group" in features[0]:
            batch["groups"] = torch.from_numpy(numbered([row["group"] for row in features]))
        if "labels" in features[0]:
            batch["labels"] = torch.tensor([row["labels"] for row in features], dtype=torch.float32)
        return batch

    def hard_loss(self, logits: Tensor, labels: Tensor, outputs: Tensor) -> Tensor:
        """Mean squared error of logits `[b, 1]` and labels `[b]` over the labelled outputs that count; 0 for none."""
        counted = outputs & labelled(labels)
        if not counted.any():
            return logits.sum() * 0.0
        return functional.mse_loss(logits.squeeze(-1)[counted].float(), labels[counted])

    def by_row(
        self, features: Sequence[Mapping[str, Any]], outputs: Sequence[np.ndarray], labels: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The same; with groups each value `[1, 2]` has its group's number beside it."""
        if not self.grouped:
            return list(outputs), list(labels)
        return beside([feature["group"] for feature in features], outputs), list(labels)

    def judge(
        self, rows: Sequence[Row], outputs: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
        """With groups the values with their groups' numbers `[1, 2]`, and the scores; None without."""
        if not self.grouped:
            return None
        truth = [np.array([row["score"]], dtype=np.float64) for row in rows]
        return beside([row["group"] for row in rows], outputs), truth

    def score(self, logits: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, float]:
        """`spearman`, `pearson` and `mse` of logits `[n, 1]`; of `[n, 2]` with groups `ranking_scores` too.

        Raises JobError for NaN logits.
        """
        predicted = finite(logits, "logits")[:, 0].astype(np.float64)
        truth = labels.astype(np.float64)
        ranked = ranking_scores(predicted, truth, logits[:, 1].astype(np.int64)) if self.grouped else {}
        return {
            **ranked,
            "spearman": correlation(spearmanr, predicted, truth),
            "pearson": correlation(pearsonr, predicted, truth),
            "mse": float(np.mean((predicted - truth) ** 2)),
        }

    def chance(self, labels: np.ndarray) -> float:
        """Correlation of a constant prediction, over all rows or inside groups, taken as 0."""
        return 0.0


def numbered(groups: Sequence[str]) -> np.ndarray:
    """Each row's group as a number from 0, int64 `[n]`, in the order in which they first come."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(group, len(known)) for group in groups], dtype=np.int64)


def beside(groups: Sequence[str], outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Each row's value `[1, 1]` with its group's number, `[1, 2]`, as `score` takes it."""
    return [
        np.concatenate([output.astype(np.float64), [[number]]], axis=-1)
        for output, number in zip(outputs, numbered(groups), strict=True)
    ]


def group_name(value: Any, column: str) -> str:
    """A cell that names a group, as text. Raises ValueError for what is neither a text nor an integer."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, str) or not value.strip():
        came = "nothing" if value is None else f"{type(value).__name__} {value!r}"[:60]
        raise ValueError(f"column {column!r}: expected a group's name (text or integer), came {came}")
    return value


def correlation(measure: Any, predicted: np.ndarray, truth: np.ndarray) -> float:
    """`spearmanr` or `pearsonr` of two arrays `[n]`; 0 where it is not defined."""
    # A correlation with a constant is not defined (scipy gives NaN and a warning). A constant orders nothing, which
    # is what 0 says, and 0 fails a comparison with the teacher where NaN would pass through unseen.
    if len(truth) < 2 or np.ptp(predicted) == 0 or np.ptp(truth) == 0:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NearConstantInputWarning)  # a student that says nearly the same of everything
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
