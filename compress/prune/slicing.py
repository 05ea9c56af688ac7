"""Rows and columns out of matrices: plans of what is kept of each part of a model, counted first, then done."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from compress.core.errors import InputError
from compress.shapes.low_rank import LowRankLinear

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
    plain = kind in (nn.Linear, LowRankLinear, Conv1D, nn.Embedding, nn.Conv1d) or is_norm(part)
    if not plain or not all(value.is_floating_point() for value in part.parameters()):
        raise InputError(
            f"{one.name} is a {kind.__name__}, of which nothing can be cut; expected a plain matrix: prune before "
            f"a model is quantized or gets adapters"
        )
    held = dict(part.named_parameters(recurse=False))
    name, axis = _place(part, one.side)
    kept = one.kept.to(held[name].device)
    left = {kind: value.clone() for kind, value in held.items() if kind != name}
    left[name] = held[name].index_select(axis, kept)
    if one.scale is not None:
        shape = [1] * left[name].dim()
        shape[axis] = len(kept)
        left[name] = left[name] * one.scale.to(left[name]).view(shape)
    if "bias" in held and one.side == "out":
        left["bias"] = held["bias"].index_select(0, kept)
    made = _empty(part, one.name, {kind: tuple(value.shape) for kind, value in left.items()})
    for kind_of, value in left.items():
        setattr(made, kind_of, nn.Parameter(value.contiguous(), requires_grad=held[kind_of].requires_grad))
    return made.train(part.training)


def is_norm(part: nn.Module) -> bool:
    """Whether a part scales each feature on its own."""
    return type(part) is nn.LayerNorm


def _place(part: nn.Module, side: Side) -> tuple[str, int]:
    """Which of its parameters holds a side's features, on which axis.

    A matrix is `[out, in]`, turned in Conv1D, a table `[rows, out]`; of two thin matrices each holds a side.
    """
    if isinstance(part, LowRankLinear):
        return ("up", 0) if side == "out" else ("weight", 1)
    if is_norm(part):
        return "weight", 0
    if isinstance(part, nn.Embedding):
        return "weight", 1
    return "weight", int((side == "in") != isinstance(part, Conv1D))


def _empty(part: nn.Module, name: str, shapes: dict[str, tuple[int, ...]]) -> nn.Module:
    """A module of the part's kind for weights of other shapes; nothing is drawn at random for it."""
    shape, bias = shapes["weight"], "bias" in shapes
    if isinstance(part, nn.LayerNorm):
        return nn.LayerNorm(shape, part.eps, bias=bias, device="meta")
    if isinstance(part, nn.Embedding):
        rows, width = shape
        return nn.Embedding(rows, width, padding_idx=part.padding_idx, max_norm=part.max_norm, device="meta")
    if isinstance(part, LowRankLinear):
        return _thin(name, shape[1], shapes["up"][0], part.rank, bias)
    if isinstance(part, Conv1D):
        with torch.device("meta"):
            return cast(nn.Module, Conv1D(shape[1], shape[0]))  # type: ignore[no-untyped-call]
    if isinstance(part, nn.Linear):
        return nn.Linear(shape[1], shape[0], bias=bias, device="meta")
    assert isinstance(part, nn.Conv1d)
    if part.groups != 1:
        raise InputError(f"{name} is a convolution in {part.groups} groups, of which nothing can be cut; expected one")
    return nn.Conv1d(
        shape[1], shape[0], part.kernel_size, part.stride, part.padding, part.dilation,  # type: ignore[arg-type]
        bias=bias, padding_mode=part.padding_mode, device="meta",
    )  # fmt: skip


def _thin(name: str, inputs: int, outputs: int, rank: int, bias: bool) -> LowRankLinear:
    if rank > min(inputs, outputs):
        raise InputError(
            f"{name} is a product of two matrices of rank {rank}, and {min(inputs, outputs)} of its features would be "
            f"left; keep at least {rank}, or prune before the model is factorized"
        )
    return LowRankLinear(inputs, outputs, rank, bias=bias, device="meta")


def planned(model: PreTrainedModel, slices: Sequence[Slice]) -> int:
    """Number of parameters that the model has after `cut`, by arithmetic alone; a tied one counts once."""
    counts = {id(value): value.numel() for value in model.parameters()}
    shapes: dict[tuple[str, str], list[int]] = {}
    for one in slices:
        part = model.get_submodule(one.name)
        name, axis = _place(part, one.side)
        value = part.get_parameter(name)
        shape = shapes.setdefault((one.name, name), list(value.shape))
        shape[axis] = len(one.kept)
        counts[id(value)] = math.prod(shape)
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
