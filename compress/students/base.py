"""What a student architecture is: options, and `build`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from compress.core.errors import Fault
from compress.core.options import Options
from compress.core.registry import Catalogue
from compress.importance.base import Batch as Batch


@dataclass(frozen=True)
class Given:
    """What a build may use beside the teacher.

    resolve: a folder for `$name`, anything else as it is. sample: batches of that many training texts (a model's inputs
    `[b, s]`, with `labels` and `outputs`), or None where there is no corpus. loss: the task's supervised loss of a
    model's outputs on such a batch, or None where the teacher's head is not trained for the task. counts: `[v]`, how
    often each token stands in the training texts; None where each row of a table counts alike.
    """

    resolve: Callable[[str], str] = str
    sample: Callable[[int], Sequence[Batch]] | None = None
    loss: Callable[[Any, Batch], Tensor] | None = None
    counts: Tensor | None = None


NOTHING = Given()


@dataclass
class Built:
    """A new student.

    inherited: what was copied from where and what stays random, for the manifest. tokenizer: the student's own, None
    when it reads the teacher's tokens; tokenizer_source: the folder or hub name that it came from.
    """

    model: PreTrainedModel
    inherited: dict[str, Any] = field(default_factory=dict)
    tokenizer: Any | None = None
    tokenizer_source: str = ""


class StudentArchitecture(Options):
    """Base of every student; its fields are the shape and the initialisation."""

    def files(self) -> list[Path]:
        """Local files and folders whose content decides the result."""
        return []

    def preflight(self) -> list[Fault]:
        """Faults that can be seen before anything is spent, by path below this student."""
        return []

    def shaped_by(self) -> str:
        """The model whose layers it takes over as they are, `$name` or a path; else empty."""
        return ""

    @abstractmethod
    def build(self, teacher: PreTrainedModel, auto_class: type[Any], given: Given = NOTHING) -> Built:
        """Make the student under the same task head as the teacher. Draws from torch's global generator.

        Raises InputError when the teacher's family or shape does not allow it.
        """


STUDENTS: Catalogue[StudentArchitecture] = Catalogue("student", "students", ("compress.students",))
