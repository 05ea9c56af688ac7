"""distill: train a small student towards a teacher, or without one, for comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
import transformers
from pydantic import Field

from compress.core.errors import Fault, InputError
from compress.core.hashing import tree_sha256
from compress.core.options import Choice, CorpusRef, ModelSource
from compress.corpora.corpus import Corpus
from compress.distill.checks import check_head, check_labels, check_quality, check_vocabulary
from compress.distill.distillation import Distillation
from compress.losses.base import LOSSES, Loss
from compress.steps.base import STEPS, Context, Step
from compress.students.base import STUDENTS, StudentArchitecture
from compress.students.inherit import architecture_facts
from compress.tasks.base import TASKS, Task
from compress.train.facts import positions
from compress.train.folder import Loaded, load_model, save_student
from compress.train.options import TrainOptions

GOLDEN = 8


@STEPS.register("distill")
class Distill(Step, TrainOptions):
    """Build a student from a teacher and train it under weighted losses; writes a Model.

    `losses: [hard_ce]` gives the same student trained without a teacher. Two stages are two of these steps, the second
    with `start:` the first; a first stage on a `mask` corpus may use losses on hidden states and attention alone.
    """

    kind: ClassVar[str] = "Model"

    corpus: CorpusRef = Field(description="the corpus to train on, a `prepare` step")
    teacher: ModelSource = Field(description="$step, folder or hub name of the model to imitate")
    student: Annotated[StudentArchitecture, Choice(STUDENTS)] = Field(description="the student's shape and start")
    start: ModelSource | None = Field(None, description="a model of the same shape whose body the student starts from")
    losses: list[Annotated[Loss, Choice(LOSSES)]] = Field(min_length=1, description="the weighted terms")
    max_length: int | None = Field(None, ge=8, le=8192, description="longest input in tokens; null: the teacher's")
    seed: int | None = Field(None, ge=0, lt=2**32, description="null: the recipe's seed")

    def files(self) -> list[Path]:
        """The folders of models that are given by path."""
        given = [name for name in (self.teacher, self.start) if name and not name.startswith("$")]
        return [Path(name) for name in given if Path(name).is_dir()]

    def preflight(self) -> list[Fault]:
        """A model that is given by path and is not there."""
        faults = []
        for field, name in (("teacher", self.teacher), ("start", self.start)):
            looks_local = name is not None and (name.startswith((".", "/", "~")) or name.count("/") > 1)
            if name is not None and looks_local and not Path(name).is_dir():
                faults.append(Fault(field, f"{name}: no such folder; give a model folder, a hub name or a $step"))
        return faults

    def run(self, context: Context) -> None:
        """Load the teacher, check it, build the student, train it, score it, save it."""
        corpus = Corpus.open(context.folder(self.corpus))
        task = Choice(TASKS).parse(corpus.task)
        assert isinstance(task, Task)
        source = context.source(self.teacher)
        teacher, head = self._teacher(source, task, corpus, context)
        max_length, most = self.max_length or teacher.max_length, positions(teacher.model)
        if max_length > most:
            raise InputError(f"max_length: {source} reads at most {most} tokens; set it to {most} or less")
        work = Distillation(task, corpus, teacher.tokenizer, max_length, self, context.reporter)
        measured: dict[str, Any] = {}
        head = head and task.scorable
        if head:
            scores, chance = work.score(teacher.model, "dev")
            check_quality(scores[task.metric], chance, task.metric, source)
            measured |= {"teacher": {"dev": scores}, "chance": chance}
        student, inherited = self._student(teacher, task, context)
        trained_head = task.output == "vector" or any("logits" in loss.needs for loss in self.losses)
        scored = trained_head and task.scorable
        uses_teacher = any(loss.needs_teacher for loss in self.losses)
        fitted = work.fit(
            student, teacher.model if uses_teacher else None, self.losses, work=context.work,
            cache=context.cache or context.work.parent, identity=[_identity(source, teacher), corpus.key],
            seed=context.seed, evaluated=scored, label=context.name,
        )  # fmt: skip
        measured |= fitted
        for split in ("dev", "test"):
            if scored and corpus.has(split):
                measured[split] = work.score(student, split)[0]
        if head and scored:
            measured["retained"] = measured["dev"][task.metric] / measured["teacher"]["dev"][task.metric]
        student.cpu()
        about = save_student(
            student, teacher.tokenizer, context.out, task=corpus.task, labels=corpus.labels,
            max_length=max_length, golden_rows=corpus.texts("dev")[:GOLDEN],
        )  # fmt: skip
        context.about.update(about, inherited=inherited, trained_head=trained_head, uses_teacher=uses_teacher)
        context.measured.update(measured)

    def _teacher(self, source: str, task: Task, corpus: Corpus, context: Context) -> tuple[Loaded, bool]:
        """The teacher, and whether its head is trained for this task."""
        labels = len(corpus.labels)
        outputs = {"classes": labels, "labels": labels, "value": 1, "span": 2}.get(task.output)
        teacher = load_model(source, task.auto_class, num_labels=outputs)
        head = check_head(teacher.missing, self.losses, source)
        if head and task.output in ("classes", "labels"):
            check_labels(teacher.labels, corpus.labels, source, context.reporter)
        return teacher, head

    def _student(self, teacher: Loaded, task: Task, context: Context) -> tuple[transformers.PreTrainedModel, Any]:
        torch.manual_seed(context.seed)
        built = self.student.build(teacher.model, getattr(transformers, task.auto_class))
        if self.start is None:
            return built.model, built.inherited
        source = context.source(self.start)
        headless = task.output in ("vocabulary", "vector")
        outputs = None if headless else getattr(teacher.model.config, "num_labels", None)
        start = load_model(source, task.auto_class, num_labels=outputs, fresh_head=True)
        check_vocabulary(start.tokenizer, teacher.tokenizer, source)
        mine, theirs = architecture_facts(built.model), architecture_facts(start.model)
        if mine != theirs:  # heads too, which weights of equal shapes do not show
            raise InputError(f"{source}: is not of the student's shape (it is {theirs}, the student is {mine})")
        try:
            found = built.model.base_model.load_state_dict(start.model.base_model.state_dict(), strict=False)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise InputError(
                f"{source}: is not of the student's shape ({reason}); give both the same options"
            ) from None
        strange = [*found.unexpected_keys, *(key for key in found.missing_keys if "pooler." not in key)]
        if strange:
            raise InputError(f"{source}: is not of the student's shape ({', '.join(strange[:3])} do not fit)")
        return built.model, {**built.inherited, "start": self.start}


def _identity(source: str, teacher: Loaded) -> str:
    """What tells one teacher's logits from another's: the content of its folder, or a hub name and its commit."""
    return tree_sha256(Path(source)) if Path(source).is_dir() else f"{source}@{teacher.commit}"
