"""What a tracker is: where numbers of a training go while it runs. None is used unless a recipe names it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from compress.core.errors import InputError
from compress.core.options import Options
from compress.core.registry import Catalogue


@dataclass(frozen=True)
class Run:
    """What a tracker is told of a training. key: the same again when it goes on. step: where it goes on, or 0."""

    name: str
    key: str
    step: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


class Sink(Protocol):
    """One open run of a tracker."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers after an update, by names such as `loss`, `terms/logits_kl`, `dev/accuracy`."""

    def close(self) -> None:
        """Write what is pending and end the run."""


class Tracker(Options):
    """Base of every tracker. `package`: what must be installed, which is also the extra of this distribution."""

    package: ClassVar[str]

    @abstractmethod
    def start(self, run: Run) -> Sink:
        """Open a run. Raises InputError when the package is missing."""

    def missing(self) -> str:
        """What is wrong with the installation, or an empty text."""
        there = self.package in sys.modules or importlib.util.find_spec(self.package) is not None
        extra = f'pip install "stillroom[{self.package}]"'
        return "" if there else f"{self.registered_name} needs the package {self.package!r}; install it with: {extra}"

    def library(self, module: str = "") -> Any:
        """The package (or a module that needs it), imported. Raises InputError with the pip line when it is missing."""
        fault = self.missing()
        if fault:
            raise InputError(fault)
        return importlib.import_module(module or self.package)


@contextmanager
def started(trackers: Sequence[Tracker], run: Run) -> Iterator[list[Sink]]:
    """Open a run in each tracker, and close what was opened, also when the training fails."""
    sinks: list[Sink] = []
    try:
        for tracker in trackers:
            sinks.append(tracker.start(run))
        yield sinks
    finally:
        for sink in sinks:
            sink.close()


TRACKERS: Catalogue[Tracker] = Catalogue("tracker", "trackers", ("compress.train.trackers",))
