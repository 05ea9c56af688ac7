"""One distillation: a corpus, a teacher and a student under one objective."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from compress.core.hashing import digest
from compress.core.reporter import Reporter
from compress.corpora.corpus import Corpus
from compress.distill.objective import Objective
from compress.distill.signals import carrying_logits, teacher_logits, with_teacher_logits
from compress.distill.teacher import LiveTeacher
from compress.losses.base import Loss
from compress.tasks.base import Task
from compress.tasks.features import Feature, collator, encode_rows, lengths
from compress.train.batches import Batch, TrainData
from compress.train.evaluate import collect
from compress.train.fit import fit
from compress.train.options import TrainOptions
from compress.train.place import arithmetic, resolve_device, resolve_precision


class Distillation:
    """Features, batches and scores of one task under one tokenizer; `fit` trains a student towards a teacher.

    cache: folder for the teacher's logits. identity: what tells this teacher and corpus from others there.
    """

    def __init__(
        self, task: Task, corpus: Corpus, tokenizer: Any, max_length: int, options: TrainOptions, reporter: Reporter
    ) -> None:
        self.task = task
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.options = options
        self.reporter = reporter
        self.device = resolve_device(options.device)
        self.precision = resolve_precision(options.precision, self.device)
        self.collate = collator(task, tokenizer.pad_token_id)

    def features(self, split: str) -> list[Feature]:
        """The rows of a split as token ids."""
        return encode_rows(self.task, self.tokenizer, self.corpus.texts(split), self.max_length)

    def score(self, model: PreTrainedModel, split: str) -> tuple[dict[str, float], float]:
        """Metrics of a model on a split in float32, and the main metric of the best constant answer."""
        logits, labels = collect(
            model, self.features(split), self.collate, self.task.flatten, read=self.task.read, by_row=self.task.by_row,
            batch_size=2 * self.options.batch_size, device=self.device, precision="fp32",
        )  # fmt: skip
        return self.task.score(logits, labels, self.corpus.labels), self.task.chance(labels)

    def fit(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel | None,
        losses: Sequence[Loss],
        *,
        work: Path,
        cache: Path,
        identity: Sequence[str],
        seed: int,
        evaluated: bool,
        label: str,
    ) -> dict[str, Any]:
        """Train `student` in place; it ends with its best weights by the dev metric (its last, if not `evaluated`).

        Returns what `fit` measured, with the value of every term on the first batch.
        """
        torch.manual_seed(seed)
        told = None if teacher is None else LiveTeacher(teacher, read=self.task.read, pool=self.task.pool)
        objective = Objective(student, told, losses, read=self.task.read, pool=self.task.pool)
        objective.train()
        data = self._data(objective, teacher, cache, identity)
        with quick_attention(student, self.device):
            first = self._first_batch(objective, data)
            result = fit(
                objective,
                data,
                _call,
                self.options,
                work=work,
                seed=seed,
                reporter=self.reporter,
                evaluate=(lambda: self.score(student, "dev")[0]) if evaluated else None,
                metric=self.task.metric,
                label=label,
            )
        objective.close()
        return {**result.measured(), "first_batch": first}

    def _data(
        self, objective: Objective, teacher: PreTrainedModel | None, cache: Path, identity: Sequence[str]
    ) -> TrainData:
        features = self.features("train")
        stored = objective.needs_teacher and objective.logits_only and not self.task.token_level
        stored = stored and self.task.output != "vector"  # a pair of texts is two rows of a batch
        if teacher is None or not stored:
            return TrainData(features, self.collate, lengths(features))
        key = digest([*identity, self.max_length, self.precision, len(features)])[:32]
        logits = teacher_logits(
            teacher, features, self.collate, cache=cache / f"logits-{key}.npy", batch_size=64,
            device=self.device, precision=self.precision, reporter=self.reporter,
        )  # fmt: skip
        return TrainData(with_teacher_logits(features, logits), carrying_logits(self.collate), lengths(features))

    def _first_batch(self, objective: Objective, data: TrainData) -> dict[str, float]:
        """Run the objective once before anything is paid for, so that a loss that cannot work says so now."""
        rows = list(data.features[: min(8, len(data.features))])
        batch = data.collate(rows, torch.Generator().manual_seed(0))
        objective.to(self.device)
        with torch.random.fork_rng(), torch.no_grad(), arithmetic(self.precision, self.device):
            _, terms = objective({name: value.to(self.device) for name, value in batch.items()})
        return {name: round(float(value), 6) for name, value in terms.items()}


@contextmanager
def quick_attention(student: PreTrainedModel, device: torch.device) -> Iterator[None]:
    """Plain attention while a student trains on a CPU.

    Without dropout sdpa takes the flash kernel, whose backward pass made a 3 x 384 student at 15 tokens 1.4 times
    slower than plain attention (torch 2.13, AVX-512 and AMX). The student gets its own implementation back.
    """
    before = student.config._attn_implementation
    if device.type == "cpu":
        student.set_attn_implementation("eager")
    try:
        yield
    finally:
        student.set_attn_implementation(before)


def _call(objective: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, Any]]:
    total, terms = objective(batch)
    return total, terms
