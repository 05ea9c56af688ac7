"""Learned log-variances (Kendall, Gal, Cipolla 2018, "Multi-Task Learning Using Uncertainty", arXiv 1705.07115)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from compress.distill.balance.base import BALANCERS, Balance, Balancer

GRADIENT = 1e-3


@BALANCERS.register("uncertainty")
class Uncertainty(Balance):
    """Minimises the sum of weight * (exp(-s) * term + s), with one learned log-variance s for each term.

    s follows the logarithm of its term, so that a term is divided by its own size: at the optimum each contributes its
    recipe weight. This is twice the paper's form for regression: the same optimum, and the plain weights at the start
    (s = 0). The total may become negative.
    """

    paper: ClassVar[str] = "Kendall, Gal, Cipolla 2018, arXiv 1705.07115"

    speed: float = Field(
        200.0, gt=0, description="how much faster than a weight of the student s moves, per step of AdamW"
    )

    def build(self, terms: int) -> Balancer:
        """Log-variances 0."""
        return _ByUncertainty(self.speed, terms)


class _ByUncertainty(Balancer):
    """`bias` is s / speed. It is called so because AdamW's decay leaves out what is called bias, and it is small since
    AdamW moves every number by about its learning rate per step: s itself would hardly move in a fine-tuning."""

    def __init__(self, speed: float, terms: int) -> None:
        super().__init__()
        self.speed = speed
        self.bias = nn.Parameter(torch.zeros(terms))

    def forward(self, weights: Sequence[float], terms: Sequence[Tensor], parameters: Sequence[Tensor]) -> Tensor:
        """The sum of weight * (exp(-s) * term + s)."""
        variances = _Faster.apply(self.bias, self.speed)  # type: ignore[no-untyped-call]
        parts = zip(weights, variances, terms, strict=True)
        return torch.stack([w * ((-s).exp() * t + s) for w, s, t in parts]).sum()

    def factors(self) -> Tensor:
        """exp(-s) of each term."""
        return (-self.speed * self.bias.detach()).exp()


class _Faster(torch.autograd.Function):
    """s = speed * bias, with the gradient of s times 1e-3 for the bias.

    AdamW does not see the size of a gradient, but clipping does: the true one, `speed` times as long, would have the
    student's cut with it.
    """

    @staticmethod
    def forward(ctx: Any, bias: Tensor, speed: float) -> Tensor:
        """The log-variances `[n]`."""
        return bias * speed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The gradient of s, scaled."""
        return gradients[0] * GRADIENT, None
