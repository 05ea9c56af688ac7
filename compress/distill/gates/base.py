"""What gates are: options, and a module that opens and shuts a student's heads and neurons while it trains.

A gate is a factor of 0 or 1 on what its head or neuron gives. The backward pass sees through it (Bengio et al. 2013,
arXiv 1308.3432): what a shut gate would change is known, and it may open again.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from compress.anatomy.base import anatomy_of
from compress.anatomy.blocks import AttentionBlock, FfnBlock
from compress.core.errors import InputError
from compress.core.family import stock_family
from compress.core.options import Options
from compress.core.registry import Catalogue
from compress.train.group import Group
from compress.train.staged import Staged

Kind = Literal["heads", "ffn"]
KINDS: tuple[Kind, ...] = ("heads", "ffn")


@dataclass(frozen=True)
class Part:
    """Heads or neurons that share gates.

    blocks: the matrices that read them, by dotted name, each in one of `layers` (from 1); several where a table of
    relative positions keeps their heads together. count: the number of gates. width: features that hang on each. at:
    where its gates lie among all.
    """

    kind: Kind
    layers: tuple[int, ...]
    blocks: tuple[str, ...]
    count: int
    width: int
    at: slice


class Gating(Staged):
    """One gate for each head and neuron of the given kinds, all open at first.

    `gates` `[n]` is a buffer: checkpoints hold it and the best weights bring theirs along; the student has none of it.
    """

    gates: Tensor

    def __init__(self, parts: Sequence[Part]) -> None:
        super().__init__()
        self.parts = list(parts)
        self.register_buffer("gates", torch.ones(sum(part.count for part in parts)))
        self._leaves: list[Tensor] = []
        self._leaves_of: Tensor | None = None
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    @abstractmethod
    def learn(self, gradient: Tensor, step: int) -> None:
        """Take the gradient of the loss by every gate `[n]` in, that of update `step` (from 1) and of all processes."""

    @abstractmethod
    def choose(self, step: int) -> Tensor:
        """The gates `[n]`, 0 or 1, for what comes after update `step`."""

    @abstractmethod
    def leave(self, folder: Path) -> None:
        """Write what was learned into the folder of the saved student."""

    def attach(self, student: PreTrainedModel) -> None:
        """Put the gates into the student's forward pass, until `settle`."""
        for index, part in enumerate(self.parts):
            for name in part.blocks:
                self._hooks.append(student.get_submodule(name).register_forward_pre_hook(self._hook(index)))

    def updated(self, step: int, group: Group) -> None:
        """Learn from the gradients that the update's batches left, and set the gates anew."""
        leaves = self.leaves()
        gradient = torch.cat([torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves])
        for leaf in leaves:
            leaf.grad = None
        group.add_up([gradient])
        self.learn(gradient, step)
        self.gates.copy_(self.choose(step))

    def leaves(self) -> list[Tensor]:
        """The gates as each part's own tensor `[count]`, whose gradient is kept apart from that of the weights.

        They share the buffer's memory: what a checkpoint puts there, the next forward pass uses.
        """
        if self._leaves_of is not self.gates:  # at first, and after a move to another device
            with torch.inference_mode(False):
                self._leaves = [self.gates[part.at].detach().requires_grad_() for part in self.parts]
            self._leaves_of = self.gates
        return self._leaves

    def check_reached(self, loss: Tensor) -> None:
        """Raises InputError for gates that a loss does not depend on: nothing would tell which of them to shut."""
        leaves = self.leaves()
        found: Sequence[Tensor | None] = [None] * len(leaves)
        if loss.requires_grad:
            found = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
        blind = [part for part, gradient in zip(self.parts, found, strict=True) if gradient is None]
        if blind:
            named = ", ".join(f"the {part.kind} of layer {', '.join(map(str, part.layers))}" for part in blind[:4])
            more = f" and {len(blind) - 4} more" if len(blind) > 4 else ""
            raise InputError(
                f"gates: no loss depends on {named}{more}, so that nothing tells which of them to keep; add a loss on "
                "outputs or on the last layer's states (hidden_mse: {map: last}), or leave `gates` out"
            )

    def record(self) -> dict[str, Tensor]:
        """The share of open gates of each kind, for the history."""
        shares = {}
        for kind in KINDS:
            own = [self.gates[part.at] for part in self.parts if part.kind == kind]
            if own:
                shares[f"{kind} kept"] = torch.cat(own).mean()
        return shares

    @torch.no_grad()
    def settle(self, student: PreTrainedModel) -> None:
        """Take the gates off and write them into the weights: what reads a shut part becomes 0.

        The student then computes bit for bit what it computed under the gates.
        """
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        for part in self.parts:
            shut = self.gates[part.at] == 0
            for name in part.blocks:
                reader = student.get_submodule(name)
                weight = reader.get_parameter("weight")
                rows = weight if isinstance(reader, Conv1D) else weight.T  # Conv1D keeps its matrix turned
                rows[shut.repeat_interleave(part.width).to(weight.device)] = 0

    def facts(self) -> dict[str, list[dict[str, int]]]:
        """How many are kept in each layer, for the manifest."""
        found: dict[str, list[dict[str, int]]] = {}
        for part in self.parts:
            kept = int(self.gates[part.at].sum())
            found.setdefault(part.kind, []).extend({"layer": n, "kept": kept, "of": part.count} for n in part.layers)
        return found

    def _hook(self, index: int) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            read, *rest = inputs
            gate = self.leaves()[index].to(read.dtype)
            each = gate.repeat_interleave(self.parts[index].width)
            return (read * each, *rest)

        return hook


class Gates(Options):
    """Base of every way to learn gates; `build` makes the module for one student."""

    paper: ClassVar[str] = ""

    @abstractmethod
    def build(self, student: PreTrainedModel) -> Gating:
        """The gates of a student. Raises InputError where its parts do not allow what the options ask."""


def parts_of(student: PreTrainedModel, kinds: Sequence[Kind]) -> list[Part]:
    """The gated parts of a student, heads first.

    Raises InputError for a family that is not known or has no such blocks.
    """
    anatomy = anatomy_of(student)
    groups: list[tuple[Kind, list[AttentionBlock] | list[FfnBlock], int, int]] = []
    if "heads" in kinds:
        together: dict[str, list[AttentionBlock]] = {}
        for block in anatomy.attention_blocks(student):
            together.setdefault(block.together or block.name, []).append(block)
        groups += [("heads", blocks, blocks[0].heads, blocks[0].head_width) for blocks in together.values()]
    if "ffn" in kinds:
        groups += [("ffn", [block], block.neurons, 1) for block in anatomy.ffn_blocks(student)]
    missing = [kind for kind in kinds if not any(kind == group[0] for group in groups)]
    if missing:
        raise InputError(f"gates: a student of the family {stock_family(student.config)} has no {missing[0]} to gate")
    parts, start = [], 0
    for kind, blocks, count, width in groups:
        layers, names = tuple(block.layer for block in blocks), tuple(block.output for block in blocks)
        parts.append(Part(kind, layers, names, count, width, slice(start, start + count)))
        start += count
    return parts


def by_block(parts: Sequence[Part], values: Tensor) -> Mapping[str, Tensor]:
    """A value for every gate `[n]` as one tensor for each block, by its name."""
    return {name: values[part.at].detach().cpu().clone() for part in parts for name in part.blocks}


GATES: Catalogue[Gates] = Catalogue("gate", "gates", ("compress.distill.gates",))
