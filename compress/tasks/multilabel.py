"""Any number of labels for a text or for a pair of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn import functional

from compress.tasks.base import TASKS, Features, Row, Task
from compress.tasks.batch import IGNORED, finite, label_of, pad, text_of, tokenized
from compress.tasks.ragged import SMALL, Ragged


@TASKS.register("multilabel")
class MultiLabel(Task):
    """Sequence classification, each label by itself: said when its probability (a sigmoid) is above one half.

    Metrics: micro F1 over all decisions, macro F1 over the labels that occur, the share of rows with exactly the right
    labels, and average precision, the mean over the labels that some rows have and others lack.
    """

    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    output: ClassVar[str] = "labels"
    metric: ClassVar[str] = "f1"

    text: str = Field("text", description="column of the text")
    text_pair: str | None = Field(None, description="column of the second text, for pairs")
    labels: str = Field("labels", description="column of the labels, a list of names (or numbers) for each row")
    separator: str | None = Field(
        None, min_length=1, description='what stands between names when the column is one text, such as ";"'
    )

    def sources(self) -> dict[str, str]:
        """Normalised column to source column."""
        pair = {} if self.text_pair is None else {"text_pair": self.text_pair}
        return {"text": self.text, **pair, "labels": self.labels}

    def label_values(self, row: Row) -> list[Any]:
        """The raw labels of a source row. Raises ValueError for a column that holds no list."""
        value = row[self.labels]
        if self.separator is not None and isinstance(value, str):
            return [part.strip() for part in value.split(self.separator) if part.strip()]
        if not isinstance(value, (list, tuple, np.ndarray)):
            hint = "; for names in one text give `separator`, for one label a row use the task classify"
            raise ValueError(f"column {self.labels!r}: expected a list of labels, came {_shown(value)}{hint}")
        return list(value)

    def normalise(self, row: Row, index: Mapping[Any, int]) -> dict[str, Any]:
        """`text`, `text_pair` when there is one, and `labels` as 0 or 1 for each label of `index`.

        Raises ValueError for an unusable row. A row without the label column stays without (unlabelled text).
        """
        out: dict[str, Any] = {"text": text_of(row, self.text)}
        if self.text_pair is not None:
            out["text_pair"] = text_of(row, self.text_pair)
        if self.labels in row:
            carried = {label_of(value, self.labels, index) for value in self.label_values(row)}
            out["labels"] = [int(place in carried) for place in range(1 + max(index.values(), default=-1))]
        return out

    def encode(self, tokenizer: Any, rows: Mapping[str, Sequence[Any]], max_length: int) -> Features:
        """Token ids of texts or pairs, and `labels`, 0 or 1 for each label; -100 throughout in a row without."""
        features = tokenized(tokenizer, rows["text"], rows.get("text_pair"), max_length)
        known = next((row for row in rows.get("labels", ()) if row is not None), None)
        if known is not None:
            unknown = [IGNORED] * len(known)
            given = (unknown if row is None else [int(one) for one in row] for row in rows["labels"])
            features["labels"] = Ragged(given, SMALL)
        return features

    def collate(
        self, features: Sequence[Mapping[str, Any]], pad_id: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """A batch padded to its longest row; `labels` are `[b, c]` float32, -100 throughout in an unlabelled row."""
        batch = pad(features, pad_id)
        batch["outputs"] = torch.ones(len(features), dtype=torch.bool)
        known = next((row["labels"] for row in features if row.get("labels") is not None), None)
        if known is not None:
            unknown = [IGNORED] * len(known)
            found = [unknown if row.get("labels") is None else row["labels"] for row in features]
            batch["labels"] = torch.tensor(found, dtype=torch.float32)
        return batch

    def hard_loss(self, logits: Tensor, labels: Tensor, outputs: Tensor) -> Tensor:
        """Binary cross-entropy of logits and labels `[b, c]`, mean over both axes of labelled rows; 0 for none."""
        counted = outputs & (labels >= 0).all(-1)
        if not counted.any():
            return logits.sum() * 0.0
        return functional.binary_cross_entropy_with_logits(logits[counted].float(), labels[counted])

    def judge(self, rows: Sequence[Row], outputs: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The outputs as they are, and the labels of the rows."""
        return list(outputs), [np.asarray([row["labels"]], dtype=np.float32) for row in rows]

    def score(self, logits: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, float]:
        """`f1` (micro), `macro_f1`, `exact` and `average_precision` of logits `[n, c]`. Raises JobError for NaN."""
        said, true = finite(logits, "logits") > 0, labels > 0.5
        hits, told, held = (said & true).sum(0), said.sum(0), true.sum(0)
        occurs = told + held > 0
        each = 2 * hits[occurs] / (told + held)[occurs]
        both = [place for place in range(true.shape[1]) if 0 < held[place] < len(true)]
        precisions = [average_precision_score(true[:, place], logits[:, place]) for place in both]
        return {
            "f1": float(2 * hits.sum() / max(1, told.sum() + held.sum())),
            "macro_f1": float(each.mean()) if len(each) else 0.0,
            "exact": float((said == true).all(-1).mean()),
            "average_precision": float(np.mean(precisions)) if precisions else 0.0,
        }

    def chance(self, labels: np.ndarray) -> float:
        """Micro F1 of always saying the same labels: the most frequent ones, as many as score best."""
        held = np.sort((labels > 0.5).sum(0))[::-1]
        told = len(labels) * np.arange(1, len(held) + 1)
        return float((2 * held.cumsum() / (told + held.sum())).max())


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"[:60]
