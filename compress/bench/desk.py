"""The state of one benchmark: the corpus rows, the subjects with their processes, and what is known so far."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.bench.isolation import COMMAND, RequestError, SubjectError, Worker
from compress.bench.options import BenchOptions
from compress.bench.sources import Subject
from compress.core.reporter import Reporter
from compress.tasks.base import Task


@dataclass
class Running:
    """One subject while it is measured. opened: what loading it told (labels, memory, seconds).

    private: what probes keep for each other and do not report (per-row scores).
    """

    subject: Subject
    reference: bool
    report: dict[str, Any]
    worker: Worker | None = None
    opened: dict[str, Any] = field(default_factory=dict)
    private: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The subject's name in the report."""
        return self.subject.name

    @property
    def ok(self) -> bool:
        """Whether nothing has gone wrong so far."""
        return str(self.report["status"]) == "ok"

    def call(self, function: str, allow: float = 0.0, **arguments: Any) -> Any:
        """Call a function in the subject's process (see `Worker.call`)."""
        assert self.worker is not None, "the subject's process is not running"
        return self.worker.call(function, allow, **arguments)

    def fail(self, status: str, message: str) -> None:
        """Note what went wrong and end the process."""
        self.report.update(status=status, error=message)
        if self.worker is not None:
            self.worker.kill()
            self.worker = None


@dataclass
class Desk:
    """Everything that probes read. rows: normalised rows of the split; inputs: the same as a Student takes them.

    harness: what measures.json says about the measuring itself. command: what starts a subject's process. cores: CPUs
    that threads are bound to while they are timed, none where they are not.
    """

    options: BenchOptions
    task: Task
    labels: list[str]
    split: str
    rows: list[dict[str, Any]]
    inputs: list[Any]
    running: list[Running]
    device: str
    threads: int
    work: Path
    reporter: Reporter
    chance: random.Random
    command: Sequence[str] = COMMAND
    harness: dict[str, Any] = field(default_factory=dict)
    cores: list[int] = field(default_factory=list)

    @property
    def reference(self) -> Running:
        """The subject that ratios are taken against: the first."""
        return self.running[0]

    def alive(self) -> list[Running]:
        """Subjects that have not failed, in their order."""
        return [running for running in self.running if running.ok]

    def shuffled(self) -> list[Running]:
        """The living subjects in a random order, new with every call."""
        return self.chance.sample(self.alive(), len(self.alive()))

    @contextmanager
    def watch(self, running: Running) -> Iterator[None]:
        """Whatever fails inside is noted on this subject and the others go on."""
        try:
            yield
        except SubjectError as error:
            status, message = error.status, str(error)
        except RequestError as error:
            status, message = "failed", str(error)
        else:
            return
        running.fail(status, message)
        self.reporter.warn(f"{running.name}: {message}")


def inputs_of(row: dict[str, Any]) -> Any:
    """A normalised row as `Student.predict` takes it: a text, a pair, words, or a question with its context."""
    if "tokens" in row:
        return list(row["tokens"])
    if "context" in row:
        return {"question": row["question"], "context": row["context"]}
    if row.get("text_pair") is not None:
        return {"text": row["text"], "text_pair": row["text_pair"]}
    return row["text"]
