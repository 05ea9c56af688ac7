"""One distillation: a corpus, teachers and a student under one objective."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from compress.anatomy.depth import depth_of_weights
from compress.core.reporter import Reporter
from compress.corpora.corpus import Corpus
from compress.distill import preflight
from compress.distill.align import Interpreter
from compress.distill.balance.base import Balance
from compress.distill.combine.base import Combine
from compress.distill.first_batch import FirstBatch, look_at, tell
from compress.distill.gates.base import Gating
from compress.distill.groups import groups_of
from compress.distill.objective import Objective
from compress.distill.stored import StoredTeacher, check_signals
from compress.distill.teacher import LiveTeacher
from compress.distill.thrifty import Setting, TeacherMode, ThriftyTeacher
from compress.losses.base import Loss
from compress.signals.origin import Origin
from compress.signals.store import Signals
from compress.tasks.base import Task
from compress.tasks.features import Feature, collator, encode_rows, lengths, with_unlabelled
from compress.train.answering import answering
from compress.train.batches import Batch, Collate, TrainData, derived_seed
from compress.train.bodies import quick_attention, recomputing
from compress.train.evaluate import collect
from compress.train.fit import fit
from compress.train.options import TrainOptions
from compress.train.place import resolve_device, resolve_precision


@dataclass(frozen=True)
class Told:
    """One teacher of a training. origin: what tells its signals from those of others."""

    model: PreTrainedModel
    origin: Origin


SAMPLE_BATCH = 32


class Distillation:
    """Features, batches and scores of one task under one tokenizer; `fit` trains a student towards its teachers.

    unlabelled: whether the corpus's unlabelled rows are trained on too, after its train rows.
    interpreter: how the teachers read the rows, where their tokenizer is another one, or both texts at once.
    """

    def __init__(
        self, task: Task, corpus: Corpus, tokenizer: Any, max_length: int, options: TrainOptions, reporter: Reporter,
        *, unlabelled: bool = False, interpreter: Interpreter | None = None,
    ) -> None:  # fmt: skip
        self.task = task
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.unlabelled = unlabelled
        self.interpreter = interpreter
        self.options = options
        self.reporter = reporter
        self.device = resolve_device(options.device)
        self.precision = resolve_precision(options.precision, self.device)
        self.collate = collator(task, tokenizer.pad_token_id)
        self._known = 0  # features with labels, which come first

    def origin(self, source: str, commit: str) -> Origin:
        """What tells the signals of the teacher `source` (a folder, or a hub name at `commit`) from others."""
        return Origin.of(source, commit, self.tokenizer, self.max_length, self.task, self.precision)

    def features(self, split: str) -> Sequence[Feature]:
        """The rows of a split as token ids."""
        return encode_rows(self.task, self.tokenizer, self.corpus.texts(split), self.max_length)

    def sample(self, count: int, seed: int) -> list[Batch]:
        """Batches of `count` training rows that the seed draws, for what looks at a few texts of the teacher.

        The first rows would not do: a file may be sorted by its labels.
        """
        rows = self.corpus.split("train")
        draw = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(rows), generator=draw)[:count].sort().values.tolist()
        features = encode_rows(self.task, self.tokenizer, rows.select(chosen).to_list(), self.max_length)
        return [self.collate(features[at : at + SAMPLE_BATCH], draw) for at in range(0, len(features), SAMPLE_BATCH)]

    def supervised(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The task's loss of a model's outputs on labels."""
        return self.task.hard_loss(self.task.read(outputs, batch), batch["labels"], batch["outputs"])

    def score(self, model: PreTrainedModel, split: str) -> tuple[dict[str, float], float]:
        """Metrics of a model on a split in float32, and the main metric of the best constant answer."""
        features = self._dev if split == "dev" else self.features(split)
        logits, labels = collect(
            model, features, self.collate, self.task.flatten, read=self.task.read, by_row=self.task.by_row,
            batch_size=2 * self.options.batch_size, device=self.device, precision="fp32",
        )  # fmt: skip
        return self.task.score(logits, labels, self.corpus.labels), self.task.chance(labels)

    def fit(
        self,
        student: PreTrainedModel,
        teachers: Sequence[Told],
        losses: Sequence[Loss],
        *,
        combine: Combine | None = None,
        balance: Balance | None = None,
        gates: Gating | None = None,
        teacher_mode: TeacherMode = "auto",
        signals: Signals | None = None,
        work: Path,
        cache: Path,
        seed: int,
        evaluated: bool,
        label: str,
    ) -> dict[str, Any]:
        """Train `student` in place; it ends with its best weights by the dev metric (its last, if not `evaluated`).

        gates: those of the student; it ends with those of its best weights written into it.
        cache: folder that runs share, for stored signals. signals: what a `label` step stored of the one teacher; what
        they lack is computed. Returns what `fit` measured, with the facts of every term on the first batch, the layer
        maps, the final weights where they were balanced, and how each teacher spoke. The teachers are used up: in bf16
        their weights are left in bf16.
        """
        with self._answering(teachers):
            torch.manual_seed(seed)
            speaking = [self._speaking(each, losses, teacher_mode, signals, cache, work) for each in teachers]
            joined = speaking if self.interpreter is None else [self.interpreter.teacher(inner) for inner in speaking]
            objective = Objective(
                student, joined, losses, combine=combine, balance=balance, gates=gates, output=self._asked.output,
                read=self.task.read, pool=self.task.pool,
            )  # fmt: skip
            objective.train()
            data = self._data(objective)
            measured = self._preflight(data)
            with (
                quick_attention(objective, self.device, self.options.compile),
                recomputing(objective) if self.options.gradient_checkpointing else nullcontext(),
            ):
                first = self._first_batch(objective, data, seed)
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
                depth_of=depth_of_weights(student, objective) if self.options.layer_decay < 1 else None,
            )
            if gates is not None:
                gates.settle(student)
            measured |= self._learned(objective, data, seed)
            objective.close()
            spoke = [teacher.measured() for teacher in speaking]
            measured |= {"teacher_mode": spoke[0] if len(spoke) == 1 else spoke} if spoke else {}
            return {**result.measured(), "first_batch": first.measured(), **measured}

    @contextmanager
    def _answering(self, teachers: Sequence[Told]) -> Iterator[None]:
        with ExitStack() as stack:
            for each in teachers:
                longest = max(lengths(self._heard), default=0) if self.precision == "bf16" else 0
                stack.enter_context(answering(each.model, self.precision, self.device, longest))
            yield

    def _speaking(
        self, told: Told, losses: Sequence[Loss], mode: TeacherMode, signals: Signals | None, cache: Path, work: Path
    ) -> StoredTeacher | ThriftyTeacher:
        live = LiveTeacher(told.model, read=self._asked.read, pool=self._asked.pool)
        if signals is not None:
            check_signals(signals, told.origin, losses, "signals")
            return StoredTeacher(signals, live=live)
        # The task's own collate: `mask` must be seen to draw, or rows are stored that no batch ever holds.
        other = self.interpreter
        collate = self.collate if other is None else collator(self._asked, other.theirs.pad_token_id)
        setting = Setting(
            self._heard, collate, told.origin, self.options.epochs, self.options.batch_size, self.device, cache, work,
            self.reporter, self._asked.fill,
        )  # fmt: skip
        return ThriftyTeacher(live, mode, setting)

    @property
    def _asked(self) -> Task:
        """As which the teachers read the rows: the task itself, or that of a cross-encoder."""
        return self.task if self.interpreter is None else self.interpreter.task

    @cached_property
    def _dev(self) -> Sequence[Feature]:
        """The rows that every evaluation looks at, tokenized once."""
        return self.features("dev")

    @cached_property
    def _heard(self) -> Sequence[Feature]:
        """The rows that are trained on as the teachers alone read them."""
        return self._rows(self.features if self.interpreter is None else self._interpreted)

    def _interpreted(self, split: str) -> Sequence[Feature]:
        assert self.interpreter is not None
        return self.interpreter.features(self.corpus.texts(split))

    def _rows(self, read: Callable[[str], Sequence[Feature]]) -> Sequence[Feature]:
        """The train rows, then the unlabelled ones when they are trained on."""
        known = read("train")
        self._known = len(known)
        return with_unlabelled(self.task, known, read("unlabeled")) if self.unlabelled else known

    def _data(self, objective: Objective) -> TrainData:
        other = self.interpreter
        if other is None or not objective.needs_teacher:
            features = self._rows(self.features) if other is not None else self._heard
            return self._train_data(objective, features, self.collate)
        wants = objective.teachers.wants
        wanted = next((one for one in wants if other.compares_tokens(one)), wants[0])
        features = self._rows(lambda split: other.paired(self.corpus.texts(split), self.max_length, wanted))
        return self._train_data(objective, other.labelled(features), other.pairing(self.collate))

    def _train_data(self, objective: Objective, features: Sequence[Feature], collate: Collate) -> TrainData:
        groups = groups_of(objective.losses, features, self.options.batch_size, self.reporter)
        least = max(loss.least_rows for loss in objective.losses)
        return TrainData(features, collate, lengths(features), least, groups)

    def _preflight(self, data: TrainData) -> dict[str, Any]:
        other = self.interpreter
        if other is not None and other.student_task is not other.task:
            own = [feature[other.prefix]["row"] for feature in data.features if other.prefix in feature]
            preflight.cut_off(own, other.max_length, self.reporter, theirs=True)
        return {
            "overlap": preflight.overlap(self.corpus, self.reporter),
            # A long context is read in windows, which are full and lose nothing.
            "cut_off": 0.0
            if self.task.output == "span"
            else preflight.cut_off(data.features, self.max_length, self.reporter),
        }

    def _first_batch(self, objective: Objective, data: TrainData, seed: int) -> FirstBatch:
        """Look at every term once before anything is paid for, so that a loss that cannot work says so now."""
        objective.to(self.device)
        found = look_at(objective, self._first(data, seed), self.precision)
        tell(found, objective.balancer.factors() is not None, self.reporter)
        seconds = preflight.projected_seconds(data.lengths, self.options.epochs, found.tokens, found.seconds)
        self.reporter.note(f"training will take about {preflight.duration(seconds)} (evaluation left out)")
        return found

    def _learned(self, objective: Objective, data: TrainData, seed: int) -> dict[str, Any]:
        """What the objective ended with: layer maps (of the first batch, where they follow the states) and weights."""
        with torch.no_grad():
            maps = objective.layer_maps(self._first(data, seed, torch.device("cpu")))
        factors = objective.balancer.factors()
        if factors is None:
            return {"layer_maps": maps}
        terms = zip(objective.names, objective.losses, factors.tolist(), strict=True)
        return {"layer_maps": maps, "weights": {name: loss.weight * factor for name, loss, factor in terms}}

    def _first(self, data: TrainData, seed: int, device: torch.device | None = None) -> Batch:
        """A first batch of the training, drawn as the loop draws it."""
        drawn = data.batches(self.options.batch_size, seed, 0)
        # Of a corpus that is mostly unlabelled the first batch that has a label: a loss on labels is not dead there.
        rows = next((batch for batch in drawn if min(batch) < self._known), drawn[0])
        generator = torch.Generator().manual_seed(derived_seed("collate", seed, 0, 0))
        batch = data.collate([data.features[row] for row in rows], generator)
        return {name: value.to(device or self.device) for name, value in batch.items()}


def _call(objective: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, Any]]:
    total, terms = objective(batch)
    return total, terms
