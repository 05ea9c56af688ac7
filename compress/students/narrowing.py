"""Narrower layers from wider ones: one rule for every matrix, given how each space is made smaller.

A teacher has a hidden space of width d, and in each layer the spaces of its heads and of its FFN neurons. A narrowing
says how each becomes the student's; from it follows every matrix, W' = P_out^T W P_in, and every bias and norm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of

ROLES = ("query", "key", "value", "attention_output", "attention_norm", "ffn_in", "ffn_out", "ffn_norm")
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Cut:
    """Inside one layer: `[a', a]` maps from a teacher's concatenated heads to a student's, and the neurons kept.

    query, key, value are applied to what those matrices give; output to what the attention's output matrix reads.
    neurons: `[f']` indices, since an activation function allows no mixing.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    neurons: Tensor


@dataclass
class Narrowing(ABC):
    """How a teacher's spaces become a student's.

    hidden: `[d, d']`, a state h becomes h @ hidden. gain: what norms are multiplied by, because a norm gives its output
    the length of its own space, however much of the wider state is left. facts: for the manifest.
    """

    hidden: Tensor
    gain: float = 1.0
    facts: dict[str, Any] = field(default_factory=dict)

    @abstractmethod
    def cut(self, layer: Weights, numbers: Sequence[int]) -> Cut:
        """The spaces inside one layer. numbers: the teacher layers (from 1) that its weights are the mean of."""

    @abstractmethod
    def units(self, dense: Tensor, classes: Tensor) -> Tensor:
        """`[d']` indices of the units kept of a head's dense layer `[d, d]`, which `classes` `[c, d]` read."""


def layer_weights(model: PreTrainedModel, numbers: Sequence[int]) -> Weights:
    """`query.weight`, `query.bias`, ... of one layer (from 1), or the mean over several."""
    anatomy = anatomy_of(model)
    layers = anatomy.layer_list(model)
    found: Weights = {}
    for role in ROLES:
        for kind in ("weight", "bias"):
            held = [layers[n - 1].get_parameter(f"{getattr(anatomy, role)}.{kind}").detach() for n in numbers]
            found[f"{role}.{kind}"] = torch.stack(held).mean(0) if len(held) > 1 else held[0]
    return found


def narrowed(layer: Weights, narrowing: Narrowing, cut: Cut) -> Weights:
    """The student's layer, under the same names."""
    space = narrowing.hidden
    made: Weights = {}
    for role, rows in (("query", cut.query), ("key", cut.key), ("value", cut.value)):
        made[f"{role}.weight"] = rows @ layer[f"{role}.weight"] @ space
        made[f"{role}.bias"] = rows @ layer[f"{role}.bias"]
    made["attention_output.weight"] = space.T @ layer["attention_output.weight"] @ cut.output.T
    made["ffn_in.weight"] = layer["ffn_in.weight"][cut.neurons] @ space
    made["ffn_in.bias"] = layer["ffn_in.bias"][cut.neurons]
    made["ffn_out.weight"] = space.T @ layer["ffn_out.weight"][:, cut.neurons]
    for role in ("attention_output", "ffn_out"):
        made[f"{role}.bias"] = layer[f"{role}.bias"] @ space
    for role in ("attention_norm", "ffn_norm"):
        made[f"{role}.weight"], made[f"{role}.bias"] = narrowed_norm(
            layer[f"{role}.weight"], layer[f"{role}.bias"], space, narrowing.gain
        )
    return made


def narrowed_norm(weight: Tensor, bias: Tensor, space: Tensor, gain: float) -> tuple[Tensor, Tensor]:
    """A norm's gains and shifts in a narrower space.

    Gains are a diagonal matrix; in turned axes it is none, and the nearest diagonal one is that of P^T diag(w) P.
    """
    return gain * (weight @ space.square()), bias @ space


def write_layer(
    model: PreTrainedModel, layer: nn.Module, weights: Weights, fill: Callable[[Tensor, Tensor], None]
) -> None:
    """Put weights by role into a layer, through `fill(parameter, value)`."""
    anatomy = anatomy_of(model)
    for name, value in weights.items():
        role, _, kind = name.partition(".")
        fill(layer.get_parameter(f"{getattr(anatomy, role)}.{kind}"), value)


def selection(index: Tensor, size: int) -> Tensor:
    """`[n, size]` matrix that takes the entries of `index`; products with it are exact."""
    chosen = torch.zeros(len(index), size)
    chosen[torch.arange(len(index)), index] = 1
    return chosen


def best(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` largest scores, in their own order."""
    return scores.topk(count).indices.sort().values


def head_rows(heads: Tensor, head_width: int) -> Tensor:
    """Row numbers of whole heads in the concatenation of all heads."""
    return (heads[:, None] * head_width + torch.arange(head_width)).flatten()


def strongest_units(dense: Tensor, classes: Tensor, count: int) -> Tensor:
    """Units of a head's dense layer by the length of their row times that of the column that reads them."""
    return best(torch.linalg.vector_norm(dense, dim=1) * torch.linalg.vector_norm(classes, dim=0), count)
