"""Whole layers of the teacher."""

from __future__ import annotations

from typing import ClassVar

import torch
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.students.base import Given
from compress.students.inits.base import INITS, Init
from compress.students.inits.truncated import Leading
from compress.students.narrowing import Narrowing
from compress.students.shape import Shape


@INITS.register("copy")
class Copy(Init):
    """Embeddings, layers by the student's `map`, and head, as they are (Sanh et al. 2019, arXiv 1910.01108)."""

    whole: ClassVar[bool] = True

    def narrowing(self, teacher: PreTrainedModel, from_shape: Shape, to_shape: Shape, given: Given) -> Narrowing:
        """Raises InputError for a student of another width, number of heads or FFN."""
        for what in ("width", "heads", "ffn"):
            theirs, mine = getattr(from_shape, what), getattr(to_shape, what)
            if mine != theirs:
                raise InputError(
                    f"{what}: {mine} is not the teacher's {theirs}, so its layers cannot be copied whole; use "
                    f"{theirs}, or `init: svd`, `importance` or `truncated`, which make them narrower"
                )
        return Leading(torch.eye(from_shape.width), sizes=to_shape)
