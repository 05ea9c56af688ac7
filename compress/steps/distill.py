"""distill: train a small student towards one or several teachers, or without one, for comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
import transformers
from pydantic import Field, model_validator

from compress.core.errors import Fault, InputError
from compress.core.hashing import tree_sha256
from compress.core.options import Choice, CorpusRef, ModelSource
from compress.corpora.corpus import Corpus
from compress.distill.balance.base import BALANCERS, Balance
from compress.distill.checks import (
    check_head,
    check_labels,
    check_one_tokenizer,
    check_quality,
    check_vocabulary,
    reads_unlabelled,
)
from compress.distill.combine.base import COMBINERS, Combine
from compress.distill.distillation import Distillation
from compress.distill.tokens import StudentTokens, student_tokens
from compress.losses.base import LOSSES, Loss
from compress.steps.base import STEPS, Context, Step
from compress.students.base import STUDENTS, StudentArchitecture
from compress.students.inherit import architecture_facts
from compress.tasks.base import TASKS, Task
from compress.tasks.features import encode_rows
from compress.train.facts import positions
from compress.train.folder import Loaded, load_model, save_student
from compress.train.options import TrainOptions

GOLDEN = 8
COMPARED = 100  # rows on which tokenizers are compared


@STEPS.register("distill")
class Distill(Step, TrainOptions):
    """Build a student from a teacher and train it under weighted losses; writes a Model.

    `teachers: [$a, $b]` with `combine:` imitates several at once; the student is built from the first.

    `losses: [hard_ce]` gives the same student trained without a teacher. Two stages are two of these steps, the second
    with `start:` the first; a first stage on a `mask` corpus may use losses on hidden states and attention alone.
    A student may have a `tokenizer` of its own: texts and words are compared by their outputs, states and attention by
    the spans of characters that both tokenizers share. Only logits over vocabularies have no counterpart then.
    """

    kind: ClassVar[str] = "Model"
    together: ClassVar[bool] = True
    version: ClassVar[int] = 2

    corpus: CorpusRef = Field(description="the corpus to train on, a `prepare` step")
    teacher: ModelSource | None = Field(
        None, description="$step, folder or hub name of the model to imitate", examples=["$teacher"]
    )
    teachers: list[ModelSource] | None = Field(
        None, min_length=2, description="several models to imitate in place of `teacher`; they share one tokenizer"
    )
    combine: Annotated[Combine, Choice(COMBINERS)] | None = Field(
        None, description="how much each of several teachers counts; none: all alike (fixed)"
    )
    student: Annotated[StudentArchitecture, Choice(STUDENTS)] = Field(description="the student's shape and start")
    start: ModelSource | None = Field(None, description="a model of the same shape whose body the student starts from")
    losses: list[Annotated[Loss, Choice(LOSSES)]] = Field(min_length=1, description="the weighted terms")
    unlabeled: Literal["auto", "use", "ignore"] = Field(
        "auto",
        description="train on the corpus's unlabeled rows too; auto: when there are some and the losses can",
    )
    balance: Annotated[Balance, Choice(BALANCERS)] = Field(
        "none", validate_default=True, description="whether the weights are changed while training, and how"
    )
    max_length: int | None = Field(None, ge=8, le=8192, description="longest input in tokens; null: the teacher's")
    seed: int | None = Field(None, ge=0, lt=2**32, description="null: the recipe's seed")

    @model_validator(mode="after")
    def _one_way_to_name_teachers(self) -> Distill:
        if (self.teacher is None) == (self.teachers is None):
            came = "came neither" if self.teacher is None else "came both"
            raise ValueError(f"expected `teacher: $step` or `teachers: [$one, $two]`, {came}")
        if self.combine is not None and self.teachers is None:
            raise ValueError("combine: weighs several teachers, and one is given; use `teachers: [$one, $two]`")
        if self.combine is not None:
            try:
                self.combine.check(len(self.teachers or ()), "classes")  # the task is known only when it runs
            except InputError as error:
                raise ValueError(str(error)) from None
        twice = {name for name in self.teachers or () if (self.teachers or []).count(name) > 1}
        if twice:
            raise ValueError(f"teachers: {', '.join(sorted(twice))} stands twice; give it a weight (`combine: fixed`)")
        return self

    def named(self) -> list[str]:
        """The teachers as the recipe names them."""
        return [self.teacher] if self.teacher is not None else list(self.teachers or ())

    def files(self) -> list[Path]:
        """The folders of models that are given by path."""
        given = [name for name in (*self.named(), self.start) if name and not name.startswith("$")]
        return [Path(name) for name in given if Path(name).is_dir()]

    def preflight(self) -> list[Fault]:
        """A model that is given by path and is not there."""
        faults = self.tracker_faults()
        several = [(f"teachers[{index}]", name) for index, name in enumerate(self.teachers or ())]
        for field, name in (("teacher", self.teacher), *several, ("start", self.start)):
            looks_local = name is not None and (name.startswith((".", "/", "~")) or name.count("/") > 1)
            if name is not None and looks_local and not Path(name).is_dir():
                faults.append(Fault(field, f"{name}: no such folder; give a model folder, a hub name or a $step"))
        return faults

    def run(self, context: Context) -> None:
        """Load the teacher, check it, build the student, train it, score it, save it."""
        corpus = Corpus.open(context.folder(self.corpus))
        task = Choice(TASKS).parse(corpus.task)
        assert isinstance(task, Task)
        sources = [context.source(name) for name in self.named()]
        told = [self._teacher(source, task, corpus, context) for source in sources]
        teachers = [teacher for teacher, _ in told]
        teacher, head = teachers[0], all(head for _, head in told)
        max_length = self._max_length(teachers, sources)
        more = reads_unlabelled(self.unlabeled, self.losses, corpus.has("unlabeled"), task.labelled)
        work = Distillation(
            task, corpus, teacher.tokenizer, max_length, self, context.reporter, unlabelled=more
        )  # fmt: skip
        self._one_tokenizer(teachers, sources, work)
        measured = self._scores(told, sources, work)
        student, inherited = self._student(teacher, task, context)
        trained_head = any("logits" in loss.needs for loss in self.losses)
        uses_teacher = any(loss.needs_teacher for loss in self.losses)
        fitted = work.fit(
            student, [each.model for each in teachers] if uses_teacher else [], self.losses,
            combine=self.combine, balance=self.balance, work=context.work,
            cache=context.cache or context.work.parent,
            identities=[_identity(source, each) for source, each in zip(sources, teachers, strict=True)],
            seed=context.seed, evaluated=trained_head, label=context.name,
        )  # fmt: skip
        if not context.leads:
            return
        measured |= fitted
        for split in ("dev", "test"):
            if trained_head and corpus.has(split):
                measured[split] = work.score(student, split)[0]
        if head and trained_head:
            best = max(scores["dev"][task.metric] for scores in self._told(measured))
            measured["retained"] = measured["dev"][task.metric] / best
        student.cpu()
        about = save_student(
            student, tokens.tokenizer, context.out, task=corpus.task, labels=corpus.labels,
            max_length=max_length, golden_rows=corpus.texts("dev")[:GOLDEN],
        )  # fmt: skip
        about["trained_rows"] = {split: corpus.rows[split] for split in ("train", *(["unlabeled"] if more else []))}
        context.about.update(about, inherited=inherited, trained_head=trained_head, uses_teacher=uses_teacher)
        context.measured.update(measured)

    def _teacher(self, source: str, task: Task, corpus: Corpus, context: Context) -> tuple[Loaded, bool]:
        """The teacher, and whether its head is trained for this task."""
        outputs = {"classes": len(corpus.labels), "value": 1}.get(task.output)
        teacher = load_model(source, task.auto_class, num_labels=outputs)
        weighed = self.combine is not None and self.combine.by_row
        head = check_head(teacher.missing, self.losses, source, weighed)
        if head and task.output == "classes":
            check_labels(teacher.labels, corpus.labels, source, context.reporter)
        return teacher, head

    def _max_length(self, teachers: list[Loaded], sources: list[str]) -> int:
        chosen = self.max_length or min(teacher.max_length for teacher in teachers)
        for teacher, source in zip(teachers, sources, strict=True):
            if chosen > (most := positions(teacher.model)):
                raise InputError(f"max_length: {source} reads at most {most} tokens; set it to {most} or less")
        return chosen

    def _one_tokenizer(self, teachers: list[Loaded], sources: list[str], work: Distillation) -> None:
        """Several teachers read the same tokens, which are encoded once."""
        for other, source in zip(teachers[1:], sources[1:], strict=True):
            some = work.corpus.texts("dev")[:COMPARED]
            encoded = [
                encode_rows(work.task, tokenizer, some, work.max_length)
                for tokenizer in (teachers[0].tokenizer, other.tokenizer)
            ]
            check_one_tokenizer(teachers[0].tokenizer, other.tokenizer, (encoded[0], encoded[1]), (sources[0], source))

    def _scores(self, told: list[tuple[Loaded, bool]], sources: list[str], work: Distillation) -> dict[str, Any]:
        """Every teacher that has a head on dev, checked against chance: `teacher`, or `teachers` by name."""
        found: dict[str, Any] = {}
        for name, source, (teacher, head) in zip(self.named(), sources, told, strict=True):
            if not head:
                continue
            scores, chance = work.score(teacher.model, "dev")
            check_quality(scores[work.task.metric], chance, work.task.metric, source)
            found["chance"] = chance
            if self.teachers is None:
                found["teacher"] = {"dev": scores}
            else:
                found.setdefault("teachers", {})[name] = {"dev": scores}
        return found

    def _told(self, measured: dict[str, Any]) -> list[dict[str, Any]]:
        return list(measured["teachers"].values()) if self.teachers else [measured["teacher"]]

    def _student(self, teacher: Loaded, task: Task, context: Context) -> tuple[transformers.PreTrainedModel, Any]:
        torch.manual_seed(context.seed)
        built = self.student.build(teacher.model, getattr(transformers, task.auto_class))
        if self.start is None:
            return None
        outputs = getattr(teacher.model.config, "num_labels", None) if task.output != "vocabulary" else None
        return load_model(context.source(self.start), task.auto_class, num_labels=outputs, fresh_head=True)

    def _student(
        self, teacher: Loaded, start: Loaded | None, tokens: StudentTokens, task: Task, context: Context
    ) -> tuple[transformers.PreTrainedModel, Any]:
        torch.manual_seed(context.seed)
        built = self.student.build(tokens.source_of(teacher), getattr(transformers, task.auto_class))
        tokens.settle(built.model, built.inherited)
        if start is None:
            return built.model, built.inherited
        source = context.source(str(self.start))
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

    def _sources(self) -> dict[str, str]:
        """The models that are named, by option."""
        named = {"teacher": self.teacher, "start": self.start, "tokenizer": self.tokenizer}
        return {option: name for option, name in named.items() if isinstance(name, str)}


def _identity(source: str, teacher: Loaded) -> str:
    """What tells one teacher's logits from another's: the content of its folder, or a hub name and its commit."""
    return tree_sha256(Path(source)) if Path(source).is_dir() else f"{source}@{teacher.commit}"
