"""Teachers in fixed proportions (Hinton et al. 2015, arXiv 1503.02531, sec. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.distill.combine.base import COMBINERS, Combine


@COMBINERS.register("fixed")
class Fixed(Combine):
    """Every teacher counts the same for each row, or in the proportion of `weights`."""

    paper: ClassVar[str] = "Hinton, Vinyals, Dean 2015, arXiv 1503.02531"

    weights: list[Annotated[float, Field(gt=0)]] | None = Field(
        None, description="one positive number for each teacher, in their order; none: equal. Only ratios matter"
    )

    def shares(self, traces: Sequence[Trace]) -> Tensor:
        """The weights over their sum, `[k, b]` or `[k, b, s]`."""
        logits = traces[0].logits
        shape = (len(traces), len(traces[0].mask)) if logits is None else (len(traces), *logits.shape[:-1])
        given = torch.tensor(self.weights or [1.0] * len(traces), device=traces[0].mask.device)
        return (given / given.sum()).view(-1, *[1] * (len(shape) - 1)).expand(shape)

    def check(self, teachers: int, output: str) -> None:
        """One weight for each teacher."""
        super().check(teachers, output)
        if self.weights is not None and len(self.weights) != teachers:
            raise InputError(
                f"combine.fixed.weights: {len(self.weights)} weights for {teachers} teachers; give one for each"
            )
