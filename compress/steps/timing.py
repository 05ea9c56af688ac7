"""Models in memory, timed on this machine beside one reference: how `prune` and `bench` meet."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from compress.bench.options import BenchOptions
from compress.bench.probes.latency import Latency
from compress.bench.run import bench_models
from compress.core.artifact import MANIFEST, ArtifactWriter
from compress.core.errors import InputError, JobError
from compress.core.family import stock_family
from compress.core.quiet import hushed
from compress.core.reporter import Reporter
from compress.export.base import EXPORTERS
from compress.export.shapes import trial_batches
from compress.prune.latency import Timing
from compress.prune.target import Target
from compress.runtime.engines.torch_output import one_output
from compress.steps.compare import Opened
from compress.train.facts import model_inputs, positions
from compress.train.folder import save_tokenizer
from compress.train.source import WEIGHTS

AT_ONCE = 4  # models beside the reference: each is a process that holds its weights
REFERENCE = "reference"


@dataclass
class BenchTimer:
    """Times models as `target` says, with the texts of a corpus, each against `reference` in interleaved rounds.

    work: a folder for what is timed; of it only the reference stays, for the next call. Raises JobError for a model
    that could not be run.
    """

    target: Target
    opened: Opened
    reference: Opened
    work: Path
    reporter: Reporter
    seed: int = 13

    def __post_init__(self) -> None:
        """Raises InputError for a length that the models cannot read, and for models without an engine's form."""
        config = self.opened.loaded.model.config
        if self.target.engine in EXPORTERS.names() and getattr(config, "is_encoder_decoder", False):
            raise InputError(
                f"target.engine: a {stock_family(config)} is not exported to {self.target.engine}; time it on torch"
            )
        most = min(positions(one.loaded.model) for one in (self.opened, self.reference))
        if self.target.length != "corpus" and self.target.length > most:
            raise InputError(f"target.length: the model reads at most {most} tokens; set it to that or less")

    def __call__(self, models: Sequence[PreTrainedModel], tokenizer: Any) -> list[Timing]:
        """The time of each model, in order."""
        folder = self.work / "timing"
        found: list[Timing] = []
        with self.reporter.progress(f"time on {self.target.engine}", len(models)) as bar:
            if not (folder / REFERENCE / MANIFEST).is_file():
                self._write(self.reference.loaded.model, self.reference.loaded.tokenizer, folder / REFERENCE)
            for start in range(0, len(models), AT_ONCE):
                chosen = models[start : start + AT_ONCE]
                names = [f"shape-{start + place}" for place in range(len(chosen))]
                for name, model in zip(names, chosen, strict=True):
                    self._write(model, tokenizer, folder / name)
                found += self._timed(folder, names)
                for name in names:
                    shutil.rmtree(folder / name)
                bar.advance(len(chosen))
        return found

    def _timed(self, folder: Path, names: Sequence[str]) -> list[Timing]:
        every = [REFERENCE, *names]
        length = self.target.length
        options = BenchOptions(
            split="train", batch_sizes=[self.target.batch], lengths=[] if length == "corpus" else [length],
            engine=self.target.engine, device="cpu", threads=self.target.threads, seconds=self.target.seconds,
            probes=[Latency()], processes=1,
        )  # fmt: skip
        measures = bench_models(
            [str(folder / name) for name in every], self.opened.corpus.folder, options, names=every, seed=self.seed
        )
        return [self._timing(subject) for subject in measures["subjects"] if not subject["reference"]]

    def _timing(self, subject: dict[str, Any]) -> Timing:
        mix = "corpus" if self.target.length == "corpus" else "grid"
        cell = next((cell for cell in subject["latency"] if cell["mix"] == mix), None)
        if cell is None or cell["ratio"]["value"] is None:
            why = subject["error"] or (cell or {}).get("ratio", {}).get("why") or "no reason given"
            raise JobError(f"target: a model could not be timed on {self.target.engine} ({why})")
        low_high = cell["ratio"]["interval"]
        interval = None if low_high is None else (float(low_high[0]), float(low_high[1]))
        return Timing(float(cell["p50"]["value"]), float(cell["ratio"]["value"]), interval)

    def _write(self, model: PreTrainedModel, tokenizer: Any, out: Path) -> None:
        """A folder that the engine runs; its answers are nobody's business."""
        writer = ArtifactWriter(out)
        place, inputs = writer.open(), model_inputs(model, tokenizer)
        # All that its positions allow: a limit that was set for training must not shorten what is timed.
        longest, about = positions(model), self.opened.about
        with hushed():
            if self.target.engine in EXPORTERS.names():
                batches, exporter = trial_batches(model.config, inputs, longest), EXPORTERS.get(self.target.engine)()
                facts = exporter.export(one_output(model, about["task"]), batches, longest, place)
                model.config.save_pretrained(place)
            else:
                model.save_pretrained(place, max_shard_size="100GB")
                facts = {"file": WEIGHTS, "dtype": "float32"}
        max_length = min(int(about["max_length"]), longest) if self.target.length == "corpus" else longest
        save_tokenizer(tokenizer, place, inputs, max_length)
        writer.commit(
            {
                "kind": "Model", "step": out.name, "key": "", "measured": {},
                "about": {
                    "task": about["task"], "labels": about["labels"], "max_length": max_length, "inputs": inputs,
                    "family": stock_family(model.config), "engine": {self.target.engine: facts},
                },
            }
        )  # fmt: skip
