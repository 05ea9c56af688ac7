"""`bench`: measure models on a corpus, the first one as reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from compress.bench.options import BenchOptions
from compress.bench.run import bench_models, subjects_of
from compress.bench.sources import names_of, split_engine
from compress.core.artifact import write_json
from compress.core.errors import Fault, InputError
from compress.core.options import AT, CorpusRef, MeasuredModel
from compress.steps.base import STEPS, Context, Step


@STEPS.register("bench")
class Bench(Step, BenchOptions):
    """Latency, throughput, load time, memory, size and quality of each model, with intervals.

    Every model runs in a fresh process with pinned threads; timed blocks of all of them are interleaved in random
    order. The first model is the reference of every ratio. Writes measures.json.
    """

    kind: ClassVar[str] = "Measures"
    version: ClassVar[int] = 1
    measures: ClassVar[bool] = True

    models: list[MeasuredModel] = Field(
        description="the reference (teacher) first: $steps, folders or hub names, each with an engine behind it if it "
        "should not be the fastest: $half@torch:bf16",
        min_length=1,
    )
    corpus: CorpusRef = Field(description="texts to time and to score")

    @field_validator("models")
    @classmethod
    def _engines_are_known(cls, models: list[str]) -> list[str]:
        for model in models:
            try:
                split_engine(model)
            except InputError as error:
                raise ValueError(str(error)) from None
        return models

    def files(self) -> list[Path]:
        """Folders of models from outside."""
        folders = [Path(split_engine(model)[0]) for model in self.models if not model.startswith("$")]
        return [folder for folder in folders if folder.is_dir()]

    def preflight(self) -> list[Fault]:
        """Models from outside that are not there, engines given to nobody."""
        faults: list[Fault] = []
        names = names_of(self.models)
        if isinstance(self.engine, dict):
            unknown = [name for name in self.engine if name not in names]
            faults += [Fault("engine", f"{name!r} is none of the models ({', '.join(names)})") for name in unknown]
        for index, model in enumerate(self.models):
            if not split_engine(model)[0].startswith("$"):
                try:
                    subjects_of([model], [names[index]], self._engine_of(names[index]))
                except InputError as error:
                    faults.append(Fault(f"models[{index}]", str(error)))
        return faults

    def run(self, context: Context) -> None:
        """Measure and write measures.json; the manifest gets the main numbers."""
        measures = bench_models(
            [_source(context, model) for model in self.models],
            context.folder(self.corpus),
            BenchOptions(**{name: getattr(self, name) for name in BenchOptions.model_fields}),
            names=names_of(self.models),
            reporter=context.reporter,
            seed=context.seed,
        )
        write_json(context.out / "measures.json", measures)
        context.about = {"reference": measures["reference"], "subjects": [one["name"] for one in measures["subjects"]]}
        context.measured = {one["name"]: headline(one) for one in measures["subjects"]}

    def _engine_of(self, name: str) -> str:
        return self.engine if isinstance(self.engine, str) else self.engine.get(name, "auto")


def _source(context: Context, model: str) -> str:
    """The folder of `$step@engine`, its engine still behind it."""
    path, engine = split_engine(model)
    return f"{context.source(path)}{AT}{engine}" if engine else context.source(path)


def headline(subject: dict[str, Any]) -> dict[str, Any]:
    """Status, main metric, size, and p50 with its ratio for single corpus texts."""
    quality = subject.get("quality", {})
    lines = [line for line in subject.get("latency", []) if line["mix"] == "corpus"]
    return {
        "status": subject["status"],
        "quality": quality.get("values", {}).get(quality.get("metric"), {}).get("value"),
        "bytes": subject.get("size", {}).get("total", {}).get("value"),
        "p50_ms": lines[0]["p50"]["value"] if lines else None,
        "ratio": lines[0]["ratio"]["value"] if lines else None,
    }
