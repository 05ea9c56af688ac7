"""One distillation: a corpus, a teacher and a student under one objective."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from compress.core.reporter import Reporter
from compress.corpora.corpus import Corpus
from compress.distill.objective import Objective
from compress.distill.stored import StoredTeacher, check_signals
from compress.distill.teacher import LiveTeacher
from compress.distill.thrifty import Setting, TeacherMode, ThriftyTeacher
from compress.losses.base import Loss
from compress.signals.origin import Origin
from compress.signals.store import Signals
from compress.tasks.base import Task
from compress.tasks.features import Feature, collator, encode_rows, lengths
from compress.train.batches import Batch, TrainData
from compress.train.evaluate import collect
from compress.train.fit import fit
from compress.train.options import TrainOptions
from compress.train.place import arithmetic, resolve_device, resolve_precision


class Distillation:
    """Features, batches and scores of one task under one tokenizer; `fit` trains a student towards a teacher."""

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

    def origin(self, source: str, commit: str) -> Origin:
        """What tells the signals of the teacher `source` (a folder, or a hub name at `commit`) from others."""
        return Origin.of(source, commit, self.tokenizer, self.max_length, self.task, self.precision)

    def features(self, split: str) -> list[Feature]:
        """The rows of a split as token ids."""
        return encode_rows(self.task, self.tokenizer, self.corpus.texts(split), self.max_length)

    def score(self, model: PreTrainedModel, split: str) -> tuple[dict[str, float], float]:
        """Metrics of a model on a split in float32, and the main metric of the best constant answer."""
        logits, labels = collect(
            model, self.features(split), self.collate, self.task.flatten,
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
        origin: Origin,
        teacher_mode: TeacherMode = "auto",
        signals: Signals | None = None,
        seed: int,
        evaluated: bool,
        label: str,
    ) -> dict[str, Any]:
        """Train `student` in place; it ends with its best weights by the dev metric (its last, if not `evaluated`).

        cache: folder that runs share, for stored signals. origin: what tells this teacher's from others there.
        signals: what a `label` step stored; what they lack is computed. Returns what `fit` measured, with the value of
        every term on the first batch.
        """
        torch.manual_seed(seed)
        features = self.features("train")
        data = TrainData(features, self.collate, lengths(features))
        told: StoredTeacher | ThriftyTeacher | None = None
        if teacher is not None:
            live = LiveTeacher(teacher, read=self.task.read, pool=self.task.pool)
            if signals is not None:
                check_signals(signals, origin, losses, "signals")
                told = StoredTeacher(signals, live=live)
            else:
                told = ThriftyTeacher(live, teacher_mode, self._setting(features, origin, cache, work))
        objective = Objective(student, told, losses, read=self.task.read, pool=self.task.pool)
        objective.train()
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
        spoken = {} if told is None else {"teacher_mode": told.measured()}
        return {**result.measured(), "first_batch": first, **spoken}

    def _setting(self, features: Sequence[Feature], origin: Origin, cache: Path, work: Path) -> Setting:
        return Setting(
            features, self.collate, origin, self.options.epochs, self.options.batch_size, self.device, cache, work,
            self.reporter,
        )  # fmt: skip

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
