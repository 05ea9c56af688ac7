"""Teachers weighed row by row (Zhang et al. 2022, "CA-MKD", arXiv 2201.00007)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.distill.combine.base import COMBINERS, DISTRIBUTIONS, Combine


@COMBINERS.register("confidence")
class Confidence(Combine):
    """Each row counts a teacher by how well it does there: (1 - softmax(cost)) / (k - 1) over the k teachers (eq. 3).

    The cost is the cross-entropy of the true label, as in the paper, where a row has one; the entropy of the teacher's
    own distribution elsewhere. Terms on states and attention use the same shares: the paper takes another set for
    them, from the teacher's head on the student's states, which a student of other depth or width has not.
    """

    paper: ClassVar[str] = "Zhang, Chen, Wang 2022, arXiv 2201.00007"
    by_row: ClassVar[bool] = True

    measure: Literal["label", "entropy", "maximum"] = Field(
        "label",
        description="what a teacher's cost is: label (cross-entropy of the label, the entropy for rows without one), "
        "entropy, or maximum (-log of its largest probability)",
    )

    def shares(self, traces: Sequence[Trace]) -> Tensor:
        """Shares `[k, b]` or `[k, b, s]`. Raises InputError for one teacher and for outputs that are no classes."""
        logits = [trace.logits for trace in traces if trace.logits is not None]
        self.check(len(traces), "classes" if logits and logits[0].shape[-1] > 1 else "value")
        log = torch.stack([functional.log_softmax(each.float(), -1) for each in logits])
        return (1 - self._cost(log, traces[0].labels).softmax(0)) / (len(log) - 1)

    def check(self, teachers: int, output: str) -> None:
        """Two teachers or more, and a distribution that a teacher can be sure of."""
        super().check(teachers, output)
        if teachers < 2:
            raise InputError("combine.confidence: weighs teachers against each other, and there is one; name two")
        if output not in DISTRIBUTIONS:
            raise InputError(
                "combine.confidence: needs a distribution over classes to see how sure a teacher is, and this task's "
                "outputs are none; use `combine: fixed`"
            )

    def _cost(self, log: Tensor, labels: Tensor | None) -> Tensor:
        if self.measure == "maximum":
            return -log.amax(-1)
        entropy = -(log.exp() * log).sum(-1)
        if self.measure == "entropy" or labels is None or labels.is_floating_point():
            return entropy
        known = (labels >= 0) & (labels < log.shape[-1])
        index = torch.where(known, labels, 0).expand(log.shape[:-1]).unsqueeze(-1)
        return torch.where(known, -log.gather(-1, index).squeeze(-1), entropy)
