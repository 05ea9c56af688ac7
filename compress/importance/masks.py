"""Masks over heads and neurons, and a model that runs under them: what a cut model must equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.core.errors import InputError


@dataclass(eq=False)
class Masks:
    """heads: name of an attention block to `[h]`, or `[b, h]` with a mask of its own for every row of a batch.

    neurons: name of a feed-forward block to `[f]` or `[b, f]`. 0 takes a part away, 1 leaves it, others scale it.
    """

    heads: dict[str, Tensor]
    neurons: dict[str, Tensor]

    def every(self) -> list[Tensor]:
        """All masks, those of heads first."""
        return [*self.heads.values(), *self.neurons.values()]

    def __eq__(self, other: object) -> bool:
        """Whether the same blocks have the same masks, number for number, wherever they lie and in whatever dtype."""
        return isinstance(other, Masks) and self.facts() == other.facts()

    __hash__ = None  # type: ignore[assignment]

    def kept(self) -> dict[str, int]:
        """How many heads or neurons of each block are not 0."""
        return {name: int((mask != 0).sum()) for name, mask in (self.heads | self.neurons).items()}

    def share_kept(self) -> dict[str, float]:
        """The share of all `heads` and of all `neurons` that are not 0, of those that have masks."""
        kinds = {"heads": self.heads, "neurons": self.neurons}
        return {
            kind: sum(int((mask != 0).sum()) for mask in held.values()) / sum(mask.numel() for mask in held.values())
            for kind, held in kinds.items()
            if held
        }

    def facts(self) -> dict[str, dict[str, list[Any]]]:
        """Plain numbers by block, for JSON; `from_facts` reads them."""
        kinds = {"heads": self.heads, "neurons": self.neurons}
        return {kind: {name: mask.double().tolist() for name, mask in held.items()} for kind, held in kinds.items()}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Mapping[str, list[Any]]]) -> Masks:
        """Masks of `facts()`, float32 on the CPU. Raises InputError for anything else."""
        try:
            heads, neurons = (
                {name: torch.tensor(numbers, dtype=torch.float32) for name, numbers in facts[kind].items()}
                for kind in ("heads", "neurons")
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"expected masks as {{heads: {{block: [numbers]}}, neurons: ...}}, came something else ({error})"
            ) from None
        return cls(heads, neurons)


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
