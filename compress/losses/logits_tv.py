"""Total variation of outputs (Wen et al. 2023, "f-DISTILL", arXiv 2307.15190)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from compress.core.trace import Trace
from compress.losses.base import DISTRIBUTIONS, LOSSES, Loss, required
from compress.losses.outputs import class_logits, log_probabilities, same_outputs


@LOSSES.register("logits_tv")
class LogitsTV(Loss):
    """T / 2 sum |softmax(teacher / T) - softmax(student / T)|: summed over classes, mean over the outputs that count.

    At T = 1 it is the largest difference in probability that the two give to any set of answers, from 0 to 1. Every
    wrong percent costs the same wherever it stands, so it neither chases rare classes as `logits_kl` does nor lets go
    near the goal. The gradient of an absolute difference shrinks with 1 / T, hence the factor T, not T^2.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    paper: ClassVar[str] = "Wen et al. 2023, arXiv 2307.15190"
    outputs: ClassVar[frozenset[str]] = DISTRIBUTIONS

    temperature: float = Field(1.0, gt=0, le=1000, description="softens both distributions")

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar. Raises InputError for one output, or heads of different size."""
        one = class_logits(student, "logits_tv", "use logits_mse for a regression task")
        two = class_logits(required(teacher, "teacher"), "logits_tv", "use logits_mse for a regression task")
        same_outputs(one, two)
        q, p = (log_probabilities(held, self.temperature).exp() for held in (one, two))
        return (q - p).abs().sum(-1).mean() * self.temperature / 2
