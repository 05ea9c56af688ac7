"""Dropout on the CPU, four draws from one random number.

torch's kernel asks its generator for a number per activation, and takes longer for it than for the sums of a layer
norm. One of 64 bits holds four of 16.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS = 1 << 16  # the chance of a zero is a multiple of 1 / STEPS


class QuickDropout(nn.Dropout):
    """Inverted dropout (Srivastava et al., 2014): zeros with chance `p`, the rest divided by `1 - p`.

    Draws from torch's default generator, so that a training that is taken up draws what an unbroken one does.
    """

    def forward(self, input: Tensor) -> Tensor:
        """`input` of any shape, on the CPU."""
        return dropped(input, self.p) if self.training and self.p else input


def dropped(values: Tensor, p: float) -> Tensor:
    """Inverted dropout of `values` of any shape, on the CPU; by torch's kernel where `p` rounds to 0 or 1."""
    zeros = round(p * STEPS)
    if not 0 < zeros < STEPS:
        return functional.dropout(values, p)
    numbers = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    kept = numbers.view(torch.int16)[: values.numel()].view(values.shape) >= zeros - STEPS // 2
    return values * kept.to(values.dtype).mul_(STEPS / (STEPS - zeros))


@contextmanager
def quick_dropout(module: nn.Module) -> Iterator[None]:
    """The dropout layers inside a module as quick ones."""
    layers = [one for one in module.modules() if type(one) is nn.Dropout and not one.inplace]
    for layer in layers:
        layer.__class__ = QuickDropout
    try:
        yield
    finally:
        for layer in layers:
            layer.__class__ = nn.Dropout
