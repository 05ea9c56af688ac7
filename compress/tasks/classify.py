"""One label for a text or for a pair of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from sklearn.metrics import f1_score, matthews_corrcoef
from torch import Tensor
from torch.nn import functional

from compress.tasks.base import TASKS, Features, Row, Task
from compress.tasks.batch import finite, label_of, labelled, pad, text_of, tokenized


@TASKS.register("classify")
class Classify(Task):
    """Sequence classification: accuracy, macro F1 over the classes that occur, Matthews correlation."""

    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    output: ClassVar[str] = "classes"
    metric: ClassVar[str] = "accuracy"

    text: str = Field("text", description="column of the text")
    text_pair: str | None = Field(None, description="column of the second text, for pairs")
    label: str = Field("label", description="column of the label, a name or a number")

    def sources(self) -> dict[str, str]:
        """Normalised column to source column."""
        pair = {} if self.text_pair is None else {"text_pair": self.text_pair}
        return {"text": self.text, **pair, "label": self.label}

    def label_values(self, row: Row) -> list[Any]:
        """The one raw label of a source row."""
        return [row[self.label]]

    def normalise(self, row: Row, index: Mapping[Any, int]) -> dict[str, Any]:
        """`text`, `text_pair` when there is one, and `label` as an index. Raises ValueError for an unusable row.

        A row without the label column stays without (unlabelled text).
        """
        out: dict[str, Any] = {"text": text_of(row, self.text)}
        if self.text_pair is not None:
            out["text_pair"] = text_of(row, self.text_pair)
        if self.label in row:
            out["label"] = label_of(row[self.label], self.label, index)
        return out

    def encode(self, tokenizer: Any, rows: Mapping[str, Sequence[Any]], max_length: int) -> Features:
        """Token ids of texts or pairs, and `labels` when the rows have them."""
        features = tokenized(tokenizer, rows["text"], rows.get("text_pair"), max_length)
        if "label" in rows:
            features["labels"] = [int(label) for label in rows["label"]]
        return features

    def collate(
        self, features: Sequence[Mapping[str, Any]], pad_id: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """A batch padded to its longest row; every row's output counts. Unlabelled rows give no `labels`."""
        batch = pad(features, pad_id)
        batch["outputs"] = torch.ones(len(features), dtype=torch.bool)
        if "labels" in features[0]:
            batch["labels"] = torch.tensor([row["labels"] for row in features], dtype=torch.long)
        return batch

    def hard_loss(self, logits: Tensor, labels: Tensor, outputs: Tensor) -> Tensor:
        """Cross-entropy of logits `[b, c]` and labels `[b]`, mean over the labelled outputs that count; 0 for none."""
        counted = outputs & labelled(labels)
        if not counted.any():
            return logits.sum() * 0.0
        return functional.cross_entropy(logits[counted].float(), labels[counted])

    def score(self, logits: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, float]:
        """`accuracy`, `f1` (macro) and `mcc` of logits `[n, c]`. Raises JobError for NaN logits."""
        predicted = finite(logits, "logits").argmax(-1)
        return {
            "accuracy": float((predicted == labels).mean()),
            "f1": float(f1_score(labels, predicted, average="macro", zero_division=0.0)),
            # One class on both sides orders nothing: 0, where scikit-learn also warns.
            "mcc": float(matthews_corrcoef(labels, predicted)) if len(np.union1d(labels, predicted)) > 1 else 0.0,
        }

    def chance(self, labels: np.ndarray) -> float:
        """Accuracy of always saying the most frequent label."""
        return float(np.bincount(labels).max() / len(labels))
