"""label: run a teacher over a corpus once and store what it says."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from compress.core.errors import Fault
from compress.core.options import CorpusRef, ModelSource, aside
from compress.corpora.corpus import Corpus
from compress.signals.keep import Dtype, Keep
from compress.steps.base import STEPS, Context, Step
from compress.train.options import Device, Precision
from teachers.signals import LEAST_LENGTH, Labelling


@STEPS.register("label")
class Label(Step):
    """Store a teacher's signals on a corpus, for any number of `distill` steps (`signals: $name`); writes Signals.

    Rows are found again by their token ids, so shuffling, accumulation, augmentation and resuming cannot mix them up.
    Memory does not grow with the rows, an interrupted step goes on from its whole shards, and under torchrun the
    processes share the shards. Logits and embeddings are kept in float32, hidden states, queries, keys and values in
    `dtype`: fp16 rounds them by up to 1 part in 2048. `precision: bf16`, which `auto` takes where the processor has it,
    rounds each layer's states to 1 part in 256 before; `fp32` is exact and slower.
    """

    kind: ClassVar[str] = "Signals"
    version: ClassVar[int] = 3
    together: ClassVar[bool] = True
    seeded: ClassVar[bool] = False

    corpus: CorpusRef = Field(description="the corpus to label, a `prepare` step")
    teacher: ModelSource = Field(description="$step, folder or hub name of the model that is asked")
    keep: Keep = Field(
        Keep(),
        description="{logits: true, top: K, hidden: [3, 6], attention: last, values: all, embedding: false}; top: only "
        "the K largest logits and the mass of the rest; layers as numbers, last or all",
    )
    splits: list[Literal["train", "dev", "test", "unlabeled"]] | None = Field(
        None, min_length=1, description="splits to label; null: train and, when there is one, unlabeled"
    )
    max_length: int | None = Field(
        None, ge=LEAST_LENGTH, le=8192, description="longest input in tokens; null: the teacher's"
    )
    dtype: Dtype = Field("fp16", description="number format of hidden states, queries, keys and values")
    batch_size: int = aside(64, "rows per forward pass, at most; the nearest power of two below is taken", ge=1)
    device: Device = Field("auto", description="where the teacher runs; auto is CUDA when there is one")
    precision: Precision = Field("auto", description="arithmetic of the teacher; auto as in training")

    def files(self) -> list[Path]:
        """The teacher's folder, when it is given by path."""
        return [Path(self.teacher)] if not self.teacher.startswith("$") and Path(self.teacher).is_dir() else []

    def preflight(self) -> list[Fault]:
        """A teacher that is given by path and is not there."""
        local = self.teacher.startswith((".", "/", "~")) or self.teacher.count("/") > 1
        if local and not Path(self.teacher).is_dir():
            return [Fault("teacher", f"{self.teacher}: no such folder; give a model folder, a hub name or a $step")]
        return []

    def run(self, context: Context) -> None:
        """Open the corpus, ask the teacher, write the artifact's files (the first process of several does)."""
        began = time.perf_counter()
        labelling = Labelling(
            Corpus.open(context.folder(self.corpus)), context.source(self.teacher), keep=self.keep, splits=self.splits,
            max_length=self.max_length, dtype=self.dtype, batch_size=self.batch_size, device=self.device,
            precision=self.precision, reporter=context.reporter,
        )  # fmt: skip
        about = labelling.run(context.work / "signals", None if labelling.ranks.rank else context.out)
        rows, seconds = sum(about["rows"].values()), time.perf_counter() - began
        context.about.update(about)
        context.measured.update(seconds=round(seconds, 3), rows=rows, rows_per_second=round(rows / seconds, 2))
