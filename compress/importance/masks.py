"""Masks over heads and neurons, and a model that runs under them: what a cut model must equal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of


@dataclass
class Masks:
    """heads: name of an attention block to `[h]`, or `[b, h]` with a mask of its own for every row of a batch.

    neurons: name of a feed-forward block to `[f]` or `[b, f]`. 0 takes a part away, 1 leaves it, others scale it.
    """

    heads: dict[str, Tensor]
    neurons: dict[str, Tensor]

    def every(self) -> list[Tensor]:
        """All masks, those of heads first."""
        return [*self.heads.values(), *self.neurons.values()]


def ones(model: PreTrainedModel, rows: int | None = None) -> Masks:
    """Masks that leave all as it is; `[rows, ...]` where rows are given. On the model's device and in its dtype."""
    structure = structure_of(model)

    def full(count: int) -> Tensor:
        shape = (count,) if rows is None else (rows, count)
        return torch.ones(shape, device=model.device, dtype=model.dtype)

    return Masks(
        {block.name: full(block.heads) for block in structure.attention_blocks(model)},
        {block.name: full(block.neurons) for block in structure.ffn_blocks(model)},
    )


@contextmanager
def masked(model: PreTrainedModel, masks: Masks) -> Iterator[None]:
    """While the block runs, the context of every head and the activation of every neuron is multiplied by its mask."""
    hooks = []
    for name, mask in (*masks.heads.items(), *masks.neurons.items()):
        hooks.append(model.get_submodule(name).register_forward_pre_hook(_scaled(mask)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _scaled(mask: Tensor) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (read, *rest) = inputs
        each = mask.repeat_interleave(read.shape[-1] // mask.shape[-1], dim=-1)
        return (read * (each if each.dim() == 1 else each[:, None, :]), *rest)

    return hook
