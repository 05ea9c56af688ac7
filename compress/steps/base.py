"""A step: one verb with its options; reads artifacts and files, writes one artifact."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from compress.core.errors import Fault, InputError
from compress.core.options import Options
from compress.core.registry import Catalogue
from compress.core.reporter import Reporter


@dataclass
class Context:
    """What a running step may touch.

    inputs: `$name` to the folder of that step's artifact. out: the folder to write. work: a folder that outlives an
    interruption (checkpoints), removed when the artifact is whole. cache: a folder that other runs share, for what can
    be made again. about: facts of the artifact's kind, for the manifest. measured: numbers, for the manifest. leads:
    whether this process writes the artifact; of several that run a step together, the others may leave it after the
    training.
    """

    name: str
    inputs: dict[str, Path]
    out: Path
    work: Path
    seed: int
    reporter: Reporter = field(default_factory=Reporter)
    about: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    cache: Path | None = None
    leads: bool = True

    def folder(self, reference: str) -> Path:
        """The artifact folder of `$name`. Raises InputError for anything else."""
        if reference not in self.inputs:
            raise InputError(f"{reference!r} is not an input of the step {self.name!r}")
        return self.inputs[reference]

    def source(self, reference: str) -> str:
        """A folder for `$name`, or the path or hub name as it was given."""
        return str(self.inputs.get(reference, reference))


class Step(Options):
    """Base of every verb. `kind` is the artifact it writes, `version` goes up when its result changes.

    together: under torchrun every process runs it (it trains), each into a folder of its own of which only the
    leader's is kept; other steps are run by the leader while the others wait.
    final: the model that it writes is in an engine's own form, so that only `bench` and an app can go on with it.
    measures: it times this machine and shows its inputs by name: what asks for it twice in one run gets it twice.
    """

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    seeded: ClassVar[bool] = True
    together: ClassVar[bool] = False
    final: ClassVar[bool] = False
    measures: ClassVar[bool] = False

    def files(self) -> list[Path]:
        """Local files and folders whose content decides the result."""
        return []

    def preflight(self) -> list[Fault]:
        """Faults that can be seen before anything is spent: files that are not there, columns that are missing."""
        return []

    def objection(self, option: str, source: Step) -> str:
        """Why what the step `source` writes makes no sense as this `option`; empty when it does.

        It is asked of the step that the option names, then of those by whose models that step's is shaped.
        """
        return ""

    def misuse(self, option: str, source: Step) -> str:
        """As `objection`, and asked only of the step that the option names, whatever stands behind it."""
        return ""

    def shaped_by(self) -> str:
        """The `$name` (or path) of a model whose kinds of matrices this step's model has; else empty."""
        return ""

    @abstractmethod
    def run(self, context: Context) -> None:
        """Do the work and write the artifact's files into `context.out`."""


STEPS: Catalogue[Step] = Catalogue("step", "steps", ("compress.steps", "teachers.steps"))
