"""The weights stay as the recipe gives them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from compress.distill.balance.base import BALANCERS, Balance, Balancer


@BALANCERS.register("none")
class NoBalance(Balance):
    """The sum of weight * term. The first-batch table tells whether a term is dead or drowns the others."""

    def build(self, terms: int) -> Balancer:
        """A module without state."""
        return _Sum()


class _Sum(Balancer):
    def forward(self, weights: Sequence[float], terms: Sequence[Tensor], parameters: Sequence[Tensor]) -> Tensor:
        """The weighted sum, in order."""
        total: Tensor | None = None
        for weight, term in zip(weights, terms, strict=True):
            total = weight * term if total is None else total + weight * term
        assert total is not None
        return total

    def factors(self) -> None:
        """Never anything but 1."""
        return
