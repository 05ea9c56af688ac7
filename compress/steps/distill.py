"""distill: train a small student towards one or several teachers, or without one, for comparison."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal, cast

from pydantic import Field, model_validator
from transformers import PreTrainedModel

from compress.core.errors import Fault, InputError
from compress.core.options import Choice, CorpusRef, ModelSource, SignalsRef
from compress.corpora.corpus import Corpus
from compress.corpora.tokenizers.base import TokenizerSource
from compress.distill.balance.base import BALANCERS, Balance
from compress.distill.checks import check_outputs, check_rows, reads_unlabelled
from compress.distill.combine.base import COMBINERS, Combine
from compress.distill.crossed import PairReader, all_pairs, crossed_task
from compress.distill.distillation import Distillation
from compress.distill.gates.base import GATES, Gates
from compress.distill.thrifty import TeacherMode
from compress.distill.tokens import student_tokens
from compress.importance.movement import FILE as SCORES
from compress.losses.base import LOSSES, Loss
from compress.signals.store import Signals
from compress.steps.base import STEPS, Context, Step
from compress.steps.student_of import start_of, student_of
from compress.steps.teaching import best_score, teachers_of
from compress.students.base import STUDENTS, Given, StudentArchitecture
from compress.tasks.base import TASKS, Task
from compress.train.facts import positions
from compress.train.folder import save_student
from compress.train.options import TrainOptions

GOLDEN = 8
_WORDS = "AutoModelForTokenClassification"  # the head of tasks whose words come one by one

SHUT = (
    "was trained with gates, and the heads and neurons that they shut are zeros, which a training without gates would "
    "fill again; take them out first (`prune` with `by: movement` and the shares of its gates), and distil what that "
    "gives"
)


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
    version: ClassVar[int] = 7

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
    gates: Annotated[Gates, Choice(GATES)] | None = Field(
        None, description="gates on heads and neurons, by which the training finds those to prune; none: all stay"
    )
    tokenizer: TokenizerSource | None = Field(
        None, description="the student's tokenizer, trained on the corpus or taken over; null: the start's or teacher's"
    )
    signals: SignalsRef | None = Field(
        None, description="what a `label` step stored of this teacher; null: `teacher_mode` decides"
    )
    teacher_mode: TeacherMode = Field(
        "auto",
        description="without `signals`: live runs the teacher for every batch, stored once for every row; auto takes "
        "what costs less and says so (stored hidden states and attention are rounded to fp16)",
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

    @model_validator(mode="after")
    def _one_source_of_signals(self) -> Distill:
        if self.signals is not None and self.teachers is not None:
            raise ValueError("signals: are those of one teacher, and several are given; leave `signals` out")
        if self.signals is not None and self.teacher_mode == "live":
            raise ValueError("signals: are not read when `teacher_mode` is live; leave one of the two out")
        if self.signals is not None and not any(loss.needs_teacher for loss in self.losses):
            raise ValueError("signals: no loss compares with a teacher, so nothing would read them; leave them out")
        return self

    def named(self) -> list[str]:
        """The teachers as the recipe names them."""
        return [self.teacher] if self.teacher is not None else list(self.teachers or ())

    def shaped_by(self) -> str:
        """The model that the student, or at least its body, is taken up from, when it is one."""
        return self.student.shaped_by() or self.start or ""

    def misuse(self, option: str, source: Step) -> str:
        """A start of which gates shut parts, for a training without any."""
        shut = isinstance(source, Distill) and source.gates is not None and self.gates is None
        return SHUT if shut and option.startswith(("student.", "start")) else ""

    def files(self) -> list[Path]:
        """The folders of models that are given by path."""
        folders = [Path(name) for name in self._models().values() if not name.startswith("$") and Path(name).is_dir()]
        return [*folders, *self.student.files()]

    def preflight(self) -> list[Fault]:
        """A model that is given by path and is not there, a tracker that is not installed."""
        inside = f"student.{self.student.registered_name}"
        faults = self.tracker_faults()
        faults += [Fault(f"{inside}.{fault.path}", fault.message) for fault in self.student.preflight()]
        for field, name in self._models().items():
            looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1
            if looks_local and not Path(name).is_dir():
                faults.append(Fault(field, f"{name}: no such folder; give a model folder, a hub name or a $step"))
        return faults

    def run(self, context: Context) -> None:
        """Load the teachers, check them, build the student, train it, score it, save it."""
        self._refuse_shut_parts(context)
        corpus = Corpus.open(context.folder(self.corpus))
        task = Choice(TASKS).parse(corpus.task)
        assert isinstance(task, Task)
        weighed = self.combine is not None and self.combine.by_row
        check_outputs(self.losses, task.output)
        check_rows(self.losses, task)
        crossed = crossed_task(task, self.losses, context.source(self.named()[0]))
        asked = crossed.as_pairs() if crossed is not None else task
        uses_teacher = any(loss.needs_teacher for loss in self.losses)
        more = reads_unlabelled(self.unlabeled, self.losses, corpus.has("unlabeled"), task.labelled)
        if more and crossed is not None and uses_teacher:
            more = all_pairs(corpus.texts("unlabeled"), self.unlabeled, context.reporter)
        teaching = teachers_of(self.named(), asked, corpus, self.losses, context, weighed=weighed)
        teacher, max_length = teaching.first, teaching.longest(self.max_length)
        if crossed is not None:  # a student of embeddings has the body's shape, and nothing of a head
            teacher = replace(teacher, model=cast(PreTrainedModel, teacher.model.base_model))
        start = start_of(self.start, teacher, task, context)
        tokens = student_tokens(
            self.tokenizer, teacher, start, corpus, resolve=context.source, words=task.auto_class == _WORDS,
            max_length=max_length, source=str(self.start),
        )  # fmt: skip
        apart = tokens.own or crossed is not None  # the teacher reads tokens or texts of its own, as long as it can
        longest = min(each.max_length for each in teaching.loaded) if apart else max_length
        heard = Distillation(asked, corpus, teacher.tokenizer, longest, self, context.reporter)
        teaching.share_tokens(heard)
        measured = teaching.scores(heard, several=self.teachers is not None, asked=uses_teacher)
        shown = heard  # what an initialisation sees: texts as the model that the student is cut from reads them
        if apart:
            shown = Distillation(task, corpus, tokens.tokenizer, max_length, self, context.reporter)
        headed = teaching.head and crossed is None
        given = Given(context.source, partial(shown.sample, seed=context.seed), shown.supervised if headed else None)
        student, inherited, tokens = student_of(
            self.student, teacher, start, self.start, tokens, task, given, context
        )  # fmt: skip
        if max_length > (most := positions(student)):
            raise InputError(f"max_length: the student reads at most {most} tokens; set it to that or less")
        reading = tokens.interpreter(task, teacher.tokenizer, corpus, (max_length, longest), context.reporter)
        if crossed is not None:
            reading = PairReader(crossed, tokens.tokenizer, teacher.tokenizer, longest)
        work = Distillation(
            task, corpus, tokens.tokenizer, max_length, self, context.reporter, unlabelled=more, interpreter=reading
        )
        trained_head = task.output == "vector" or any("logits" in loss.needs for loss in self.losses)
        scored = trained_head and task.scorable
        gates = self.gates.build(student) if self.gates is not None else None
        fitted = work.fit(
            student, teaching.told(heard) if uses_teacher else [], self.losses, combine=self.combine,
            balance=self.balance, gates=gates, teacher_mode=self.teacher_mode, signals=self._signals(context),
            work=context.work, cache=context.cache or context.work.parent, seed=context.seed, evaluated=scored,
            label=context.name,
        )  # fmt: skip
        if not context.leads:
            return
        measured |= fitted
        for split in ("dev", "test"):
            if scored and corpus.has(split):
                measured[split] = work.score(student, split)[0]
        if teaching.head and scored:
            measured["retained"] = measured["dev"][task.metric] / best_score(measured, task.metric)
        student.cpu()
        about = save_student(
            student, tokens.tokenizer, context.out, task=corpus.task, labels=corpus.labels,
            max_length=max_length, golden_rows=corpus.texts("dev")[:GOLDEN],
        )  # fmt: skip
        about["trained_rows"] = {split: corpus.rows[split] for split in ("train", *(["unlabeled"] if more else []))}
        if tokens.own:
            about["tokenizer"] = tokens.facts
        if gates is not None:
            gates.leave(context.out)
            measured["gates"] = gates.facts()
        context.about.update(about, inherited=inherited, trained_head=trained_head, uses_teacher=uses_teacher)
        context.measured.update(measured)

    def _refuse_shut_parts(self, context: Context) -> None:
        """Raises InputError for a start of which gates shut parts, given by path or from a recipe that changed."""
        for name in (self.student.shaped_by(), self.start):
            if name and self.gates is None and (Path(context.source(name)) / SCORES).is_file():
                raise InputError(f"{name}: {SHUT}")

    def _models(self) -> dict[str, str]:
        """The models that are named, by option."""
        named = {"teacher": self.teacher, "start": self.start, "tokenizer": self.tokenizer}
        several = {f"teachers[{index}]": name for index, name in enumerate(self.teachers or ())}
        return {option: name for option, name in {**named, **several}.items() if isinstance(name, str)}

    def _signals(self, context: Context) -> Signals | None:
        # The run has checked the artifact's hashes when it handed the folder out.
        return None if self.signals is None else Signals.open(context.folder(self.signals), hashed=False)
