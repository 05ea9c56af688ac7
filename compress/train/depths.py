"""Layer-wise learning rates: lower layers of a pretrained body move less.

Howard and Ruder (2018, arXiv:1801.06146, section 3.2), as used by ELECTRA (Clark et al., 2020, arXiv:2003.10555).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from compress.core.errors import InputError

DepthOf = Callable[[str], int | None]


def rate_shares(module: nn.Module, depth_of: DepthOf, decay: float) -> dict[str, float]:
    """Name of each trained parameter to its share of the learning rate.

    `depth_of(name)`: 0 for embeddings, 1 for the first layer and so on, None for heads and projections, which keep
    the whole rate; a layer gets `decay` times the rate of the one above it. Raises InputError when no parameter
    belongs to a layer.
    """
    names = [name for name, value in module.named_parameters() if value.requires_grad]
    depths = {name: depth_of(name) for name in names}
    known = [depth for depth in depths.values() if depth is not None]
    if not known:
        raise InputError("layer_decay: none of the trained weights belongs to a layer of a body; leave it at 1")
    top = max(known) + 1
    return {name: 1.0 if depth is None else decay ** (top - depth) for name, depth in depths.items()}


def with_shares(
    groups: Sequence[dict[str, Any]], module: nn.Module, shares: Mapping[str, float]
) -> list[dict[str, Any]]:
    """The optimizer's groups, each split by the share of the rate of its parameters; the whole rate comes first."""
    share_of = {id(value): shares[name] for name, value in module.named_parameters() if value.requires_grad}
    split: list[dict[str, Any]] = []
    for group in groups:
        for share in sorted({share_of[id(value)] for value in group["params"]}, reverse=True):
            params = [value for value in group["params"] if share_of[id(value)] == share]
            split.append({**group, "params": params, "lr": group["lr"] * share})
    return split
