"""How long the gradient of a term is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def gradient_norm(value: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Length of the gradient of a scalar by these parameters; their `.grad` is not touched, the graph is kept."""
    if not value.requires_grad:
        return torch.zeros((), device=value.device)
    found = torch.autograd.grad(value, list(parameters), retain_graph=True, allow_unused=True)
    parts = [gradient.float() for gradient in found if gradient is not None]
    return nn.utils.get_total_norm(parts) if parts else torch.zeros((), device=value.device)


def agreed(values: Tensor) -> Tensor:
    """The mean over the processes of a distributed run, so that all of them keep the same weights."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    shared = values.clone()
    torch.distributed.all_reduce(shared)
    return shared / torch.distributed.get_world_size()
