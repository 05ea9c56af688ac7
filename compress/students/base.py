"""What a student architecture is: options, and `build`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel

from compress.core.options import Options
from compress.core.registry import Catalogue


@dataclass
class Built:
    """A new student. inherited: what was copied from where, for the manifest."""

    model: PreTrainedModel
    inherited: dict[str, Any] = field(default_factory=dict)


class StudentArchitecture(Options):
    """Base of every student; its fields are the shape and the initialisation."""

    @abstractmethod
    def build(self, teacher: PreTrainedModel, auto_class: type[Any]) -> Built:
        """Make the student under the same task head as the teacher. Draws from torch's global generator.

        Raises InputError when the teacher's family or shape does not allow it.
        """


STUDENTS: Catalogue[StudentArchitecture] = Catalogue("student", "students", ("compress.students",))
