"""Leading rows and columns of the teacher's matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.students.base import Given
from compress.students.inits.base import INITS, Init, refuse_wider
from compress.students.narrowing import Cut, Narrowing, Weights
from compress.students.shape import Shape


@INITS.register("truncated")
class Truncated(Init):
    """The leading rows and columns of every matrix; where nothing is thinner this is a plain copy."""

    def narrowing(self, teacher: PreTrainedModel, from_shape: Shape, to_shape: Shape, given: Given) -> Narrowing:
        """Raises InputError for a student that is larger than its teacher somewhere."""
        refuse_wider(from_shape, to_shape)
        return Leading(torch.eye(from_shape.width, to_shape.width), sizes=to_shape)


@dataclass
class Leading(Narrowing):
    """The first entries of every space."""

    sizes: Shape | None = None

    def cut(self, layer: Weights, numbers: Sequence[int]) -> Cut:
        """The first rows, whatever head they belong to, and the first neurons."""
        assert self.sizes is not None
        rows = torch.eye(self.sizes.width, layer["query.weight"].shape[0])
        return Cut(rows, rows, rows, rows, torch.arange(self.sizes.ffn))

    def units(self, dense: Tensor, classes: Tensor) -> Tensor:
        """The first units."""
        return torch.arange(self.hidden.shape[1])
