"""Squared distance of logits (Ba and Caruana 2014, arXiv 1312.6184; Tang et al. 2019, arXiv 1903.12136)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.outputs import flat_logits, same_outputs


@LOSSES.register("logits_mse")
class LogitsMSE(Loss):
    """||student - teacher||^2: summed over classes, mean over the outputs that count. Works for one output too."""

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    paper: ClassVar[str] = "Tang et al. 2019, arXiv 1903.12136"

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar. Raises InputError for heads of different size."""
        one, two = flat_logits(student), flat_logits(required(teacher, "teacher"))
        same_outputs(one, two)
        return (one - two).square().sum(-1).mean()
