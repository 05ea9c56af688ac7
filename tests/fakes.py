"""Small methods and verbs for tests of the core and the pipeline."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from compress.core.errors import Fault, JobError
from compress.core.options import CorpusRef, ModelRef, ModelSource, Options, Ref, aside
from compress.steps.base import Context, Step


class Fruit(Options):
    """Base of a catalogue that holds nothing but fruit."""

    @abstractmethod
    def taste(self) -> str:
        """One word."""


class Grow(Step):
    """Writes `text.txt`; can be told to fail, to find fault, to read a file, and to leave work behind."""

    kind: ClassVar[str] = "Corpus"
    registered_name: ClassVar[str] = "grow"

    text: str = "seed"
    size: int = Field(1, ge=1)
    rate: float = Field(0.5, gt=0)
    fails: str = aside("", "text of the JobError to raise after writing")
    threads: int = aside(1, "decides nothing")
    path: str = ""
    fault: str = aside("", "a preflight fault")

    def files(self) -> list[Path]:
        return [Path(self.path)] if self.path else []

    def preflight(self) -> list[Fault]:
        return [Fault("text", self.fault)] if self.fault else []

    def run(self, context: Context) -> None:
        (context.out / "text.txt").write_text(f"{self.text} {context.seed}")
        (context.out / "deep").mkdir()
        (context.out / "deep" / "more.txt").write_text("more")
        (context.work / "checkpoint").write_text("half way")
        context.about = {"text": self.text}
        context.measured = {"length": len(self.text)}
        if self.fails == "disk":
            raise OSError(28, "No space left on device")
        if self.fails:
            raise JobError(self.fails)


class Cook(Step):
    """Reads corpora and models; writes a Model."""

    kind: ClassVar[str] = "Model"
    version: ClassVar[int] = 3
    registered_name: ClassVar[str] = "cook"

    corpus: CorpusRef
    base: ModelSource | None = None
    also: list[ModelRef] = Field(default_factory=list)
    seed: int | None = None

    def run(self, context: Context) -> None:
        text = (context.folder(self.corpus) / "text.txt").read_text()
        (context.out / "dish.txt").write_text(text.upper())


class Weigh(Step):
    """A step whose result no seed changes."""

    kind: ClassVar[str] = "Measures"
    measures: ClassVar[bool] = True
    seeded: ClassVar[bool] = False
    registered_name: ClassVar[str] = "weigh"

    models: list[Annotated[str, Ref("Model", engine=True)]] = Field(min_length=1)

    def run(self, context: Context) -> None:
        weights = [str((context.folder(model) / "dish.txt").stat().st_size) for model in self.models]
        (context.out / "weights.txt").write_text(" ".join(weights))


VERBS: dict[str, type[Step]] = {"grow": Grow, "cook": Cook, "weigh": Weigh}
