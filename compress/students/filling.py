"""Writing into a student, and knowing afterwards what was never written."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.errors import InputError


class Filling:
    """`fill(parameter, value)` writes a whole parameter, `fill.rows` some of its rows; `left` names the others."""

    def __init__(self, student: PreTrainedModel) -> None:
        self._student = student
        self._written: set[int] = set()

    def __call__(self, target: Tensor, value: Tensor) -> None:
        """Raises InputError for a value of another shape."""
        if target.shape != value.shape:
            raise InputError(
                f"a weight of shape {list(value.shape)} cannot fill one of shape {list(target.shape)}; "
                f"use `init: random`, or a shape that the teacher's can be cut to"
            )
        target.data.copy_(value)
        self._written.add(id(target))

    def rows(self, target: Tensor, start: int, value: Tensor) -> None:
        """Rows of a table from `start` on, as many as both have."""
        count = min(len(target) - start, len(value))
        target.data[start : start + count] = value[:count]
        self._written.add(id(target))

    def written(self, target: Tensor) -> bool:
        """Whether a parameter has been written."""
        return id(target) in self._written

    def left(self) -> list[str]:
        """Parts of the student that nothing was written into: they stay as they were drawn."""
        names = [name for name, weight in self._student.named_parameters() if id(weight) not in self._written]
        return sorted({_part(self._student, name) for name in names})


def _part(model: nn.Module, name: str) -> str:
    return name.rpartition(".")[0] or name
