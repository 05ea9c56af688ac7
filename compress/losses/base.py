"""What a loss is: `loss(student, teacher) -> scalar`, with the captures that it needs."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from compress.core.errors import InputError
from compress.core.options import Options
from compress.core.registry import Catalogue
from compress.core.trace import Trace


class Loss(Options):
    """Base of every term. A loss knows no model, tokenizer or device; masked positions never count.

    needs: what must be captured of both models (`logits`, `hidden`, `attention`).
    needs_teacher, needs_labels: whether the second trace, or labels in the first, must be there.
    takes_largest: whether the teacher's largest logits and the mass of the rest are enough for it.
    projects: whether hidden states of unequal width are projected for it before it is called.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    needs_teacher: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    takes_largest: ClassVar[bool] = False
    paper: ClassVar[str] = ""
    projects: ClassVar[bool] = False

    weight: float = Field(1.0, gt=0, description="factor of this term in the objective")

    @abstractmethod
    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """The unweighted term, a scalar that does not grow with batch size or length."""

    def pairs(self, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
        """(student layer, teacher layer) pairs that the term compares; none for a term on outputs."""
        return []


LOSSES: Catalogue[Loss] = Catalogue("loss", "losses", ("compress.losses",))


def required(trace: Trace | None, who: str) -> Trace:
    """The trace, or InputError when it was not given."""
    if trace is None:
        raise InputError(f"this loss compares with a {who}, and none was given")
    return trace
