"""teach: train a teacher on a corpus."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from compress.core.errors import Fault, InputError
from compress.core.options import Choice, CorpusRef
from compress.corpora.corpus import Corpus
from compress.steps.base import STEPS, Context, Step
from compress.tasks.base import TASKS, Task
from compress.train.folder import save_student
from compress.train.options import TrainOptions
from teachers.modes.base import MODES, Mode
from teachers.modes.full import Full
from teachers.origins.base import Need, Origin, OriginChoice
from teachers.training import Training

GOLDEN = 8


@STEPS.register("teach")
class Teach(Step, TrainOptions):
    """Fine-tune a pretrained teacher, or train one from scratch, on a labelled corpus; writes a Model.

    The best weights by the dev metric are kept. Dev and test (where there is one) are scored in float32 at the end.
    """

    kind: ClassVar[str] = "Model"
    version: ClassVar[int] = 4
    together: ClassVar[bool] = True

    corpus: CorpusRef = Field(description="the corpus to learn, a `prepare` step")
    model: Annotated[Origin, OriginChoice()] = Field(
        description="folder, hub name or $step; or {pretrained: {...}}, {scratch: {...}}"
    )
    mode: Annotated[Mode, Choice(MODES)] = Field(Full(), description="which weights are trained")
    max_length: int = Field(128, ge=8, le=8192, description="longest input in tokens; the rest is cut off")
    seed: int | None = Field(None, ge=0, lt=2**32, description="null: the recipe's seed")

    def shaped_by(self) -> str:
        """The model that it goes on with, when it is one."""
        return self.model.shaped_by()

    def files(self) -> list[Path]:
        """The checkpoint's folder, when the model is one."""
        return self.model.files()

    def preflight(self) -> list[Fault]:
        """A checkpoint that is not there or cannot be a teacher."""
        place = f"model.{self.model.registered_name}"
        faults = [Fault(f"{place}.{fault.path}", fault.message) for fault in self.model.preflight(self.max_length)]
        return [*faults, *self.tracker_faults()]

    def run(self, context: Context) -> None:
        """Start the model, look at it, train it, score it, save it."""
        began = time.perf_counter()
        corpus = Corpus.open(context.folder(self.corpus))
        task = Choice(TASKS).parse(corpus.task)
        assert isinstance(task, Task)
        if not task.scorable:
            lacks = "rows without scores, from which nothing can be learnt; name their column with `target`"
            if task.output == "vector":
                lacks = "single texts, from which nothing can be learnt; give `text_pair`"
                if task.grouped:
                    lacks = (
                        "candidates that nobody judged, from which nothing can be learnt; name their score in `target`"
                    )
            raise InputError(f"{self.corpus}: has {lacks}")
        need = Need(task, corpus, self.max_length, context.seed, context.work, context.reporter, context.source)
        start = self.model.start(need)
        started = time.perf_counter()
        training = Training(need, start, self)
        measured: dict[str, Any] = {**training.look(), **training.fit(self.mode)}
        if not context.leads:
            return
        trained = time.perf_counter()
        measured |= {**training.scores(), **start.measured}
        scored = time.perf_counter()
        about = save_student(
            training.model, start.tokenizer, context.out, task=corpus.task, labels=corpus.labels,
            max_length=self.max_length, golden_rows=corpus.texts("dev")[:GOLDEN],
        )  # fmt: skip
        measured["seconds"] = {
            "start": round(started - began, 3),
            "train": round(trained - started, 3),
            "score": round(scored - trained, 3),
        }
        context.about.update(about, origin=start.facts)
        context.measured.update(measured)
