"""Squared distance of logits (Ba and Caruana 2014, arXiv 1312.6184; Tang et al. 2019, arXiv 1903.12136)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.outputs import IMPOSSIBLE, flat_logits, same_outputs


@LOSSES.register("logits_mse")
class LogitsMSE(Loss):
    """||student - teacher||^2: summed over classes (mean over the tokens of `answer`), mean over outputs that count.

    It compares the logits themselves, so a shift of all of them counts too, and needs no temperature. Works for one
    output (regression) as well. Tang et al. distilled BERT into a small LSTM with it. Positions that a task made
    impossible (padding under `answer`) do not count.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    paper: ClassVar[str] = "Tang et al. 2019, arXiv 1903.12136"

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar. Raises InputError for heads of different size."""
        one, two = flat_logits(student), flat_logits(required(teacher, "teacher"))
        same_outputs(one, two)
        apart = one - two
        if one.shape[-1] == 1:  # a regression may say -10,000 and mean it
            return apart.square().sum(-1).mean()
        possible = (one >= IMPOSSIBLE) | (two >= IMPOSSIBLE)
        squares = apart.square().where(possible, 0.0).sum(-1)
        logits = student.logits
        if logits is not None and logits.dim() == 3 and logits.shape[1] != student.mask.shape[1]:
            squares = squares / possible.sum(-1).clamp(min=1)  # scores of tokens: not more for a longer text
        return squares.mean()
