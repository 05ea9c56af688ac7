"""Generalised Jensen-Shannon divergence of outputs (Agarwal et al. 2024, "GKD", arXiv 2306.13649)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from compress.core.trace import Trace
from compress.losses.base import DISTRIBUTIONS, LOSSES, Loss, required
from compress.losses.outputs import class_logits, log_probabilities, same_outputs


@LOSSES.register("logits_js")
class LogitsJS(Loss):
    """T^2 (beta KL(p || m) + (1 - beta) KL(q || m)), m = beta p + (1 - beta) q, with the teacher's p and student's q.

    p and q are softened by T; summed over classes, mean over the outputs that count. Never above log 2 at T = 1, so one
    output on which the two disagree wholly cannot rule the batch, as it does under `logits_kl`: milder with a noisy
    teacher. beta = 0.5 is the Jensen-Shannon divergence and treats both alike; towards 0 the gradient turns into that
    of KL(p || q), which covers everything the teacher finds likely, towards 1 into that of KL(q || p), which settles
    on what it finds likeliest.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    paper: ClassVar[str] = "Agarwal et al. 2024, arXiv 2306.13649; Lin 1991, doi 10.1109/18.61115"
    outputs: ClassVar[frozenset[str]] = DISTRIBUTIONS

    temperature: float = Field(1.0, gt=0, le=1000, description="softens both distributions")
    beta: float = Field(0.5, gt=0, lt=1, description="the teacher's share of the mixture m")

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar. Raises InputError for one output, or heads of different size."""
        one = class_logits(student, "logits_js", "use logits_mse for a regression task")
        two = class_logits(required(teacher, "teacher"), "logits_js", "use logits_mse for a regression task")
        same_outputs(one, two)
        q, p = log_probabilities(one, self.temperature), log_probabilities(two, self.temperature)
        m = torch.logaddexp(p + math.log(self.beta), q + math.log1p(-self.beta))
        apart = self.beta * p.exp() * (p - m) + (1 - self.beta) * q.exp() * (q - m)
        return apart.sum(-1).mean() * self.temperature**2
