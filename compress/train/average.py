"""An exponential moving average of the trained weights.

Polyak and Juditsky (1992) average the iterates of stochastic approximation; the moving form forgets the start. The
decay is capped by (1 + n) / (10 + n) at update n, so that weights drawn at random do not weigh on a short training.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from compress.train.checkpoint import Weights


class Average:
    """The average of a module's trainable parameters, as a second copy of them on the same device."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        named = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self._live = [value.detach() for value in named.values()]
        self.weights: Weights = {name: value.detach().clone() for name, value in named.items()}

    def update(self, step: int) -> None:
        """Take the weights after update `step` (from 1) in."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.weights.values()), self._live, 1 - decay)

    def restore(self, weights: Weights) -> None:
        """Go on from an average that a checkpoint held."""
        for name, value in self.weights.items():
            value.copy_(weights[name])

    def put(self) -> None:
        """Leave the average in the module, for good."""
        for live, held in zip(self._live, self.weights.values(), strict=True):
            live.copy_(held)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The module holds the average inside the block, and its own weights again after it, bit for bit."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        # By copy and one tensor at a time: the optimizer and compiled graphs hold on to the module's memory.
        for live, held in zip(self._live, self.weights.values(), strict=True):
            own = live.clone()
            live.copy_(held)
            held.copy_(own)
