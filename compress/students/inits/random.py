"""A random start."""

from __future__ import annotations

from transformers import PreTrainedModel

from compress.students.base import Given
from compress.students.inits.base import INITS, Init
from compress.students.narrowing import Narrowing
from compress.students.shape import Shape


@INITS.register("random")
class Random(Init):
    """Nothing is inherited; weights are drawn as the architecture draws them for pretraining."""

    def narrowing(self, teacher: PreTrainedModel, from_shape: Shape, to_shape: Shape, given: Given) -> Narrowing | None:
        """None."""
        return None
