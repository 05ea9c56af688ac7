"""Which generated texts are kept, by what a teacher says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn

from compress.core.errors import InputError
from compress.core.options import ModelSource, Options
from compress.core.reporter import Reporter
from compress.corpora.augment.rows import Row
from compress.corpora.corpus import Corpus
from compress.distill.checks import check_labels
from compress.tasks.base import Task
from compress.tasks.batch import finite
from compress.tasks.features import collator, encode_rows
from compress.train.evaluate import inputs_of
from compress.train.folder import load_model
from compress.train.place import arithmetic, resolve_device, resolve_precision

_BATCH = 64


class Keep(Options):
    """Keep a generated text by the teacher's top probability for it; for tagged rows the mean over the words."""

    teacher: ModelSource = Field(description="$step, folder or hub name of a model of this task")
    above: float | None = Field(None, ge=0, le=1, description="keep what the teacher gives at least this probability")
    between: list[float] | None = Field(
        None, min_length=2, max_length=2, description="keep what it gives a probability in [low, high], hard texts, say"
    )
    labels: bool = Field(False, description="write what the teacher says as the label, into train, not into unlabeled")

    @model_validator(mode="after")
    def _bounds(self) -> Keep:
        if self.above is not None and self.between is not None:
            raise ValueError("expected `above:` or `between:`, came both")
        if self.above is None and self.between is None and not self.labels:
            raise ValueError("expected `above:`, `between:` or `labels: true`; without one nothing would be done")
        low, high = self.bounds()
        if not 0 <= low <= high <= 1:
            raise ValueError(f"between: expected [low, high] within 0 and 1, came [{low:g}, {high:g}]")
        return self

    def bounds(self) -> tuple[float, float]:
        """The probabilities that are kept, both ends included."""
        if self.between is not None:
            return self.between[0], self.between[1]
        return self.above or 0.0, 1.0


class Judge:
    """Runs the teacher over generated rows. Raises InputError for a teacher or a task that cannot judge."""

    def __init__(self, keep: Keep, source: str, corpus: Corpus, task: Task, reporter: Reporter) -> None:
        filters = keep.above is not None or keep.between is not None
        if task.output not in ("classes", "value") or (filters and task.output == "value"):
            raise InputError(
                f"keep: a teacher of the task {task.registered_name} gives no probability of one answer, so its texts "
                f"cannot be filtered by one; leave `keep` out"
            )
        outputs = len(corpus.labels) if task.output == "classes" else 1
        loaded = load_model(source, task.auto_class, num_labels=outputs)
        untrained = [name for name in loaded.missing if "pooler." not in name]
        if untrained:
            raise InputError(f"keep: {source} has no trained head for this task; give a `teach` step's model")
        if task.output == "classes":
            check_labels(loaded.labels, corpus.labels, source, reporter)
        self.keep, self.task, self.reporter = keep, task, reporter
        self.model, self.tokenizer, self.max_length = loaded.model, loaded.tokenizer, loaded.max_length

    def kept(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that stay, in their order, labelled when that is wanted."""
        found: list[Row] = []
        low, high = self.keep.bounds()
        for row, logits in zip(rows, self._logits(rows), strict=True):
            if self.task.output == "classes" and not low <= _top(logits) <= high:
                continue
            if not self.keep.labels:
                found.append(row)
            elif self.task.output == "value":
                found.append({**row, "score": float(logits[0, 0])})
            elif not self.task.token_level:
                found.append({**row, "label": int(logits[0].argmax())})
            elif len(logits) == len(row["tokens"]):  # words past the longest input have no tag
                found.append({**row, "tags": logits.argmax(-1).tolist()})
        return found

    def _logits(self, rows: Sequence[Row]) -> list[np.ndarray]:
        """`[n, c]` for every row: one line, or one for each word that the teacher read."""
        features = encode_rows(self.task, self.tokenizer, rows, self.max_length)
        collate = collator(self.task, self.tokenizer.pad_token_id)
        device = resolve_device("auto")
        precision = resolve_precision("auto", device)
        nn.Module.to(self.model, device)
        order = sorted(range(len(features)), key=lambda row: len(features[row]["input_ids"]), reverse=True)
        said: dict[int, np.ndarray] = {}
        with self.reporter.progress("teacher's look at new texts", len(order)) as bar, torch.inference_mode():
            for start in range(0, len(order), _BATCH):
                chosen = order[start : start + _BATCH]
                batch = collate([features[row] for row in chosen], torch.Generator())
                with arithmetic(precision, device):
                    logits: Any = self.model(**inputs_of(batch, device)).logits
                logits = logits.float().cpu()
                for at, row in enumerate(chosen):
                    said[row] = finite(logits[at][batch["outputs"][at]].reshape(-1, logits.shape[-1]).numpy(), "logits")
                bar.advance(len(chosen))
        return [said[row] for row in range(len(rows))]


def _top(logits: np.ndarray) -> float:
    """The largest probability, mean over the lines of `[n, c]`; 0 where the teacher read nothing."""
    if not len(logits):
        return 0.0
    scaled = np.exp(logits - logits.max(-1, keepdims=True))
    return float((scaled.max(-1) / scaled.sum(-1)).mean())
