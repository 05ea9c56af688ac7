"""One teacher in training: its features, its fit, its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from compress.anatomy.depth import depth_of_weights
from compress.tasks.features import collator, encode_rows, lengths
from compress.train.batches import Feature, TrainData
from compress.train.evaluate import collect
from compress.train.fit import fit
from compress.train.options import TrainOptions
from compress.train.place import resolve_device
from teachers.checks import above_chance, check_finite, text_shares
from teachers.modes.base import Mode
from teachers.origins.base import Need, Start
from teachers.warm_up import task_loss


class Training:
    """Joins what is needed, where it starts and how it is trained. `model` is the teacher before and after `fit`."""

    def __init__(self, need: Need, start: Start, options: TrainOptions) -> None:
        self.need = need
        self.tokenizer = start.tokenizer
        self.model: PreTrainedModel = start.model
        self.options = options
        self.source = str(start.facts.get("pretrained", "scratch"))
        self.collate = collator(need.task, self.tokenizer.pad_token_id)
        self.train = self._features("train")
        self.dev = self._features("dev")

    def look(self) -> dict[str, Any]:
        """Checks before the training is paid for; returns the shares of truncated texts and unknown tokens."""
        check_finite(self.model, self.need.task, self.train, self.collate, self.source)
        rows = self.need.corpus.texts("train")
        return dict(text_shares(self.need.task, self.tokenizer, rows, self.need.max_length, self.need.reporter))

    def fit(self, mode: Mode) -> dict[str, Any]:
        """Train; afterwards `model` holds the best weights by the dev metric. Returns what `fit` measured."""
        module = mode.prepare(self.model)
        task = self.need.task
        result = fit(
            module,
            TrainData(self.train, self.collate, lengths(self.train)),
            task_loss(task),
            self.options,
            work=self.need.work / "train",
            seed=self.need.seed,
            reporter=self.need.reporter,
            evaluate=lambda: self._score(self.dev)[0],
            metric=task.metric,
            label="teacher",
            depth_of=depth_of_weights(self.model, module) if self.options.layer_decay < 1 else None,
        )
        self.model = mode.finish(module)
        return result.measured()

    def scores(self) -> dict[str, Any]:
        """Dev and test metrics in float32, and how they stand against the best constant answer."""
        device = resolve_device(self.options.device)
        dev, labels = self._score(self.dev, device)
        task = self.need.task
        measured = {"dev": dev, **above_chance(task, dev[task.metric], labels, self.need.reporter)}
        if self.need.corpus.has("test"):
            measured["test"] = self._score(self._features("test"), device)[0]
        self.model.cpu()
        return measured

    def _score(self, features: Sequence[Feature], device: torch.device | None = None) -> tuple[dict[str, float], Any]:
        task = self.need.task
        size = 2 * self.options.batch_size
        logits, labels = collect(
            self.model, features, self.collate, task.flatten, read=task.read, by_row=task.by_row,
            batch_size=size, device=device, precision="fp32",
        )  # fmt: skip
        return task.score(logits, labels, self.need.corpus.labels), labels

    def _features(self, split: str) -> Sequence[Feature]:
        rows = self.need.corpus.texts(split)
        return encode_rows(self.need.task, self.tokenizer, rows, self.need.max_length)
