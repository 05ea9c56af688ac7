"""Weights from gradient norms (Chen et al. 2018, "GradNorm", arXiv 1711.02257), set by measurement, not by descent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from compress.distill.balance.base import BALANCERS, Balance, Balancer
from compress.distill.gradients import agreed, gradient_norm


@BALANCERS.register("gradient_norm")
class GradientNorm(Balance):
    """Every so many batches, factors are set so that each term's gradient is as long as its recipe weight asks.

    Two terms of weight 1 then move the student alike, one of weight 3 moves it three times as much. The paper follows
    the same target by gradient descent on the weights, with the last shared layer's gradient; here the gradient is
    that of all the student's parameters, measured now and then and smoothed, which needs no second optimizer. `alpha`
    is the paper's: above 0 a term that has come down less than the others gets more.
    """

    paper: ClassVar[str] = "Chen et al. 2018, arXiv 1711.02257"

    every: int = Field(50, ge=1, description="batches between measurements, each one more backward pass per term")
    momentum: float = Field(0.7, ge=0, lt=1, description="part of the old factor that stays at each measurement")
    alpha: float = Field(0.0, ge=0, le=5, description="how strongly slower terms are pushed; 0: equal lengths")
    limit: float = Field(100.0, gt=1, description="a factor stays between 1 / limit and limit")

    def build(self, terms: int) -> Balancer:
        """Factors 1, to be measured on the first batch."""
        return _ByGradientNorm(self, terms)


class _ByGradientNorm(Balancer):
    passes: Tensor
    log_factors: Tensor
    start: Tensor

    def __init__(self, options: GradientNorm, terms: int) -> None:
        super().__init__()
        self.options = options
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        self.register_buffer("log_factors", torch.zeros(terms))
        self.register_buffer("start", torch.zeros(terms))
        self._counted: int | None = None

    def train(self, mode: bool = True) -> _ByGradientNorm:
        """Forget the count that is kept beside the buffer: a checkpoint may have been loaded into it."""
        self._counted = None
        super().train(mode)
        return self

    def forward(self, weights: Sequence[float], terms: Sequence[Tensor], parameters: Sequence[Tensor]) -> Tensor:
        """The sum of weight * factor * term; in training the factors are measured anew when it is time."""
        if self.training and torch.is_grad_enabled():
            # Reading a number from a GPU waits for it, so the buffer is read once and counted along.
            done = int(self.passes) if self._counted is None else self._counted
            if done % self.options.every == 0:
                self._measure(weights, terms, parameters, first=done == 0)
            self.passes += 1
            self._counted = done + 1
        factors = self.log_factors.exp()
        return torch.stack([w * f * t for w, f, t in zip(weights, factors, terms, strict=True)]).sum()

    def factors(self) -> Tensor:
        """The factors now."""
        return self.log_factors.exp()

    def _measure(
        self, weights: Sequence[float], terms: Sequence[Tensor], parameters: Sequence[Tensor], first: bool
    ) -> None:
        norms = agreed(torch.stack([gradient_norm(w * t, parameters) for w, t in zip(weights, terms, strict=True)]))
        values = agreed(torch.stack([term.detach().float() for term in terms]))
        # A term on labels is 0 in a batch without one; it starts where it has a gradient first.
        self.start.copy_(torch.where((self.start == 0) & (norms > 0), values, self.start))
        given = norms.new_tensor(list(weights))
        wanted = given * self._pace(values)
        alive = norms > 0
        raw = torch.where(alive, wanted / norms.clamp(min=1e-30), 0.0)
        # The weights keep their sum, so that balancing does not change the learning rate.
        raw = raw * (given * alive).sum() / (given * raw).sum().clamp(min=1e-30)
        bound = math.log(self.options.limit)
        target = torch.where(alive, raw.clamp(min=1e-30).log().clamp(-bound, bound), self.log_factors)
        kept = 0.0 if first else self.options.momentum
        self.log_factors.copy_(kept * self.log_factors + (1 - kept) * target)

    def _pace(self, values: Tensor) -> Tensor:
        """(L / L at the start, over its mean) ^ alpha: the paper's relative inverse training rate."""
        if self.options.alpha == 0:
            return torch.ones_like(values)
        left = torch.where(self.start > 0, values.clamp(min=1e-30) / self.start.clamp(min=1e-30), 1.0)
        return (left / left.mean()) ** self.options.alpha
