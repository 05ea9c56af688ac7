"""factorize: large matrices as products of small ones, layers that share weights; before any repair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

import numpy as np
import torch
import transformers
from pydantic import Field
from torch import Tensor, nn

from compress.core.errors import Fault
from compress.core.options import Choice, CorpusRef, ModelSource
from compress.distill.distillation import Distillation
from compress.factorize.base import FACTORIZERS, Factorized, Factorizer, Job
from compress.importance.base import Evidence
from compress.steps.base import STEPS, Context, Step
from compress.steps.compare import Opened
from compress.steps.forms import local_folder, missing_folder, open_float
from compress.steps.prune import Prune
from compress.train.facts import parameters
from compress.train.folder import save_student
from compress.train.options import TrainOptions

GOLDEN = 8


@STEPS.register("factorize")
class Factorize(Step):
    """Factorize a float model; writes a Model that is to be repaired by `distill`.

    `measured.parameters` counts both models by part, `measured.before` and `measured.dev` (`test`) score them, and
    `measured.retained` is the share of the dev metric that is left before any repair.
    """

    kind: ClassVar[str] = "Model"
    version: ClassVar[int] = 2

    model: ModelSource = Field(description="the float model, a `teach` or `distill` step (or a model folder)")
    corpus: CorpusRef = Field(description="its corpus: the texts that methods look at, and the dev split")
    method: Annotated[Factorizer, Choice(FACTORIZERS)] = Field(
        description="how, `{embedding_svd: {width: 128}}` for instance"
    )

    def files(self) -> list[Path]:
        """The model's folder when it is given by path."""
        return local_folder(self.model)

    def preflight(self) -> list[Fault]:
        """A model given by path that is not there."""
        return missing_folder(self.model)

    def shaped_by(self) -> str:
        """The model that it factorizes, where its matrices go over as they are, zeros and all."""
        return self.model if self.method.keeps_matrices() else ""

    def objection(self, option: str, source: Step) -> str:
        """A low-rank model: no stock architecture holds it, and its factors are not factorized again.

        And a model of pruned weights, whose zeros no product of two matrices has.
        """
        low = self.method.registered_name == "low_rank"
        zeros = isinstance(source, Prune) and any("weights" in pruner.reads for pruner in source.what)
        if option == "model" and low and zeros:
            return "its single weights are pruned, and low_rank would fill their zeros; let `weights` come last"
        if option != "model" or not isinstance(source, Factorize) or source.method.registered_name != "low_rank":
            return ""
        if low:
            return "is low-rank already; start from the model that it was made from, with the smaller rank"
        name = self.method.registered_name
        return (
            f"low_rank has made products of thin matrices, which no stock architecture holds; let {name} come before it"
        )

    def run(self, context: Context) -> None:
        """Open the model, factorize it, score both, save what came out."""
        opened = open_float(context, self.model, self.corpus)
        model, tokenizer = opened.loaded.model, opened.loaded.tokenizer
        work = Distillation(
            opened.task, opened.corpus, tokenizer, opened.about["max_length"], TrainOptions(), context.reporter
        )
        before, after = {"dev": work.score(model, "dev")[0]}, {}
        nn.Module.to(model, "cpu")
        torch.manual_seed(context.seed)
        made = self.method.factorize(_job(opened, work, context.seed))
        for split in ("dev", "test"):
            if opened.corpus.has(split):
                after[split] = work.score(made.model, split)[0]
        nn.Module.to(made.model, "cpu")
        counts = {"before": parameters(model), "after": parameters(made.model)}
        about = save_student(
            made.model, tokenizer, context.out, task=opened.corpus.task, labels=opened.corpus.labels,
            max_length=opened.about["max_length"], golden_rows=opened.corpus.texts("dev")[:GOLDEN],
        )  # fmt: skip
        kept = _kept(before["dev"], after["dev"], opened.task.metric)
        context.about.update(about, factorized={"method": self.method.registered_name, **made.facts}, lost=made.lost)
        context.measured.update(after, parameters=counts, before=before, retained=kept)
        context.reporter.note(self._told(context.name, made, before, after, counts, opened))

    def _told(
        self, name: str, made: Factorized, before: dict[str, Any], after: dict[str, Any],
        counts: dict[str, dict[str, int]], opened: Opened,
    ) -> str:  # fmt: skip
        metric = opened.task.metric
        sizes = [counts[when]["total"] for when in ("before", "after")]
        lost = f"; {'; '.join(made.lost)}" if made.lost else ""
        return (
            f"{name}: {sizes[0]:,} to {sizes[1]:,} parameters ({sizes[1] / sizes[0]:.0%}), dev {metric} "
            f"{before['dev'][metric]:.4f} to {after['dev'][metric]:.4f} before repair{lost}. Repair it with "
            f"`distill: {{teacher: {self.model}, student: {{checkpoint: {{name: ${name}}}}}, ...}}`"
        )


def _job(opened: Opened, work: Distillation, seed: int) -> Job:
    """What a method may look at; texts are read when it asks for them."""
    loss = None if opened.task.output == "vector" else work.supervised

    def texts(count: int) -> Evidence:
        return Evidence(work.sample(count, seed), loss, seed)

    def counts() -> Tensor:
        rows = len(cast(Tensor, opened.loaded.model.get_input_embeddings().weight))
        tokens = np.concatenate([np.asarray(row["input_ids"]) for row in work.features("train")])
        return torch.from_numpy(np.bincount(tokens, minlength=rows))

    auto_class = getattr(transformers, opened.task.auto_class)
    return Job(opened.loaded.model, auto_class, texts, counts)


def _kept(before: dict[str, float], after: dict[str, float], metric: str) -> float | None:
    """Share of the metric; none where there was nothing to keep."""
    return after[metric] / before[metric] if before[metric] > 0 else None
