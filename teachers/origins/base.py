"""What an origin is: where a teacher's body, tokenizer and head come from before it is trained on the task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from compress.core.errors import Fault
from compress.core.options import Choice, Options
from compress.core.registry import Catalogue
from compress.core.reporter import Reporter
from compress.corpora.corpus import Corpus
from compress.tasks.base import Task


@dataclass(frozen=True)
class Need:
    """What a teacher is wanted for. resolve: a folder for `$name`, anything else as it is. work: survives a crash."""

    task: Task
    corpus: Corpus
    max_length: int
    seed: int
    work: Path
    reporter: Reporter
    resolve: Callable[[str], str] = str

    @property
    def outputs(self) -> int | None:
        """Width of the head: one per label, 1 for a value, 2 for start and end, None where there is no such head."""
        if self.task.output in ("vocabulary", "vector"):
            return None
        return {"value": 1, "span": 2}.get(self.task.output, len(self.corpus.labels))


@dataclass
class Start:
    """A teacher before training. facts: where it came from, for the manifest; measured: numbers of making it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    facts: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)


class Origin(Options):
    """Base of every origin."""

    def files(self) -> list[Path]:
        """Local files and folders whose content decides the result."""
        return []

    def shaped_by(self) -> str:
        """The model whose layers it takes over as they are, `$name` or a path; else empty."""
        return ""

    def preflight(self, max_length: int) -> list[Fault]:
        """Faults that can be seen before anything is spent, by path below this origin."""
        return []

    @abstractmethod
    def start(self, need: Need) -> Start:
        """Make or load the model under the task's head, in float32. Draws from torch's global generator."""


ORIGINS: Catalogue[Origin] = Catalogue("origin", "origins", ("teachers.origins",))


class OriginChoice(Choice):
    """A teacher's origin; a bare text that is no registered name is short for `{pretrained: {name: TEXT}}`."""

    def __init__(self) -> None:
        super().__init__(ORIGINS)

    def parse(self, value: object) -> Options:
        """An origin from `{name: {options}}`, `$step`, a path, a hub name, `scratch`, or an instance."""
        if isinstance(value, str) and value not in ORIGINS.names():
            value = {"pretrained": {"name": value}}
        return super().parse(value)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [super().__get_pydantic_json_schema__(schema, handler), {"type": "string"}]}
