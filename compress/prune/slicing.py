"""Rows and columns out of matrices: plans of what is kept of each part of a model, counted first, then done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from compress.core.errors import InputError

Side = Literal["in", "out"]
Ties = list[tuple[str, ...]]


@dataclass(frozen=True)
class Slice:
    """Of the part `name`, only the features `kept` `[n]` of one side are left.

    out: what it gives (a table's columns, all of a norm); in: what it reads. scale: `[n]`, multiplied onto the weights
    that read the kept features, None to leave them.
    """

    name: str
    side: Side
    kept: Tensor
    scale: Tensor | None = None


@torch.no_grad()
def cut(model: PreTrainedModel, slices: Iterable[Slice]) -> None:
    """Put smaller parts into a model, in place, in its dtype, on its device, trainable where they were, tied as before.

    Raises InputError for a part that is no plain matrix, table or norm, such as a quantized one.
    """
    ties = tied(model)
    for one in slices:
        holder, _, name = one.name.rpartition(".")
        part = model.get_submodule(one.name)
        setattr(model.get_submodule(holder), name, sliced(part, one))
    tie(model, ties)


def sliced(part: nn.Module, one: Slice) -> nn.Module:
    """A new part with fewer features on one side. Raises InputError for a part of an unknown kind."""
    kind = type(part)
    weight = getattr(part, "weight", None)
    plain = kind in (nn.Linear, Conv1D, nn.Embedding, nn.Conv1d) or is_norm(part)
    if not plain or not isinstance(weight, nn.Parameter) or not weight.is_floating_point():
        raise InputError(
            f"{one.name} is a {kind.__name__}, of which nothing can be cut; expected a plain matrix: prune before "
            f"a model is quantized, gets adapters or is factorized into low ranks"
        )
    kept = one.kept.to(weight.device)
    axis = _axis(part, one.side)
    left = weight.index_select(axis, kept)
    if one.scale is not None:
        shape = [1] * left.dim()
        shape[axis] = len(kept)
        left = left * one.scale.to(left).view(shape)
    bias = getattr(part, "bias", None)
    if bias is not None:
        bias = _like(bias, bias.index_select(0, kept) if one.side == "out" else bias.clone())
    return _made(part, _like(weight, left), bias)


def is_norm(part: nn.Module) -> bool:
    """Whether a part scales each feature on its own: LayerNorm, or T5's norm without a shift."""
    return isinstance(part, nn.LayerNorm) or type(part).__name__ in ("T5LayerNorm", "FusedRMSNorm", "RMSNorm")


def _axis(part: nn.Module, side: Side) -> int:
    """The axis of the weight that holds a side's features: `[out, in]`, turned in Conv1D, `[rows, out]` in tables."""
    if is_norm(part):
        return 0
    if isinstance(part, nn.Embedding):
        return 1
    return int((side == "in") != isinstance(part, Conv1D))


def _like(old: nn.Parameter, value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.contiguous(), requires_grad=old.requires_grad)


def _made(part: nn.Module, weight: nn.Parameter, bias: nn.Parameter | None) -> nn.Module:
    """A module of the part's kind around new weights; nothing is drawn at random for it."""
    shape = tuple(weight.shape)
    made: nn.Module
    if isinstance(part, nn.LayerNorm):
        made = nn.LayerNorm(shape, part.eps, bias=bias is not None, device="meta")
    elif isinstance(part, nn.Embedding):
        made = nn.Embedding(*shape, padding_idx=part.padding_idx, max_norm=part.max_norm, device="meta")
    elif isinstance(part, Conv1D):
        with torch.device("meta"):
            made = Conv1D(shape[1], shape[0])
    elif isinstance(part, nn.Conv1d) and part.groups == 1:
        made = nn.Conv1d(
            shape[1], shape[0], part.kernel_size, part.stride, part.padding, part.dilation,  # type: ignore[arg-type]
            bias=bias is not None, padding_mode=part.padding_mode, device="meta",
        )  # fmt: skip
    elif isinstance(part, nn.Linear):
        made = nn.Linear(shape[1], shape[0], bias=bias is not None, device="meta")
    else:
        raise InputError(f"a {type(part).__name__} cannot be made smaller")
    made.weight = weight
    if bias is not None:
        made.bias = bias
    return made.train(part.training)


def planned(model: PreTrainedModel, slices: Sequence[Slice]) -> int:
    """Number of parameters that the model has after `cut`, by arithmetic alone; a tied one counts once."""
    counts = {id(value): value.numel() for value in model.parameters()}
    shapes: dict[str, list[int]] = {}
    for one in slices:
        part = model.get_submodule(one.name)
        weight = part.get_parameter("weight")
        shape = shapes.setdefault(one.name, list(weight.shape))
        shape[_axis(part, one.side)] = len(one.kept)
        counts[id(weight)] = int(torch.tensor(shape).prod())
        bias = getattr(part, "bias", None)
        if bias is not None and one.side == "out":
            counts[id(bias)] = len(one.kept)
    return sum(counts.values())


def tied(model: nn.Module) -> Ties:
    """Groups of names under which a model holds the same parameter, beyond those of a module that it holds twice."""
    names: dict[int, list[str]] = {}
    for name, value in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(value), []).append(name)
    return [tuple(group) for group in names.values() if len(group) > 1]


def tie(model: nn.Module, groups: Ties) -> None:
    """Let every name of a group hold the parameter of the first."""
    for first, *others in groups:
        value = model.get_parameter(first)
        for name in others:
            holder, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(holder), leaf, value)
