"""What balancing is: a module that turns weighted terms into the total, and may change the weights as it trains."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from compress.core.options import Options
from compress.core.registry import Catalogue


class Balancer(nn.Module):
    """`balancer(weights, terms, parameters) -> total`. State lies in buffers and parameters, so that a checkpoint holds
    it; it belongs to the objective and never reaches the student."""

    @abstractmethod
    def forward(self, weights: Sequence[float], terms: Sequence[Tensor], parameters: Sequence[Tensor]) -> Tensor:
        """The scalar to minimise. weights: as the recipe gives them. parameters: the student's, for gradients."""

    @abstractmethod
    def factors(self) -> Tensor | None:
        """What each recipe weight is multiplied with now, `[n]`; None when never with anything but 1."""


class Balance(Options):
    """Base of every way; `build` makes the module for so many terms."""

    paper: ClassVar[str] = ""

    @abstractmethod
    def build(self, terms: int) -> Balancer:
        """The balancer of an objective with `terms` terms."""


BALANCERS: Catalogue[Balance] = Catalogue("balance", "balancers", ("compress.distill.balance",))
