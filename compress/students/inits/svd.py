"""Principal directions: the teacher's hidden space projected on those that hold most of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.importance.base import Batch
from compress.importance.magnitude import size_of_heads, size_of_neurons
from compress.importance.matrices import HeadMatrices
from compress.importance.running import watch_states
from compress.students.base import Given
from compress.students.embeddings import table_moments, tables_of
from compress.students.inits.base import INITS, Init, refuse_wider, refuse_wider_heads
from compress.students.narrowing import Cut, Narrowing, Weights, best, head_rows, selection, strongest_units
from compress.students.shape import Shape
from compress.students.spectrum import Directions, aligned, gram, joint_maps, principal


@INITS.register("svd")
class Svd(Init):
    """Every matrix becomes P_out^T W P_in, with P the principal directions of the teacher's hidden space.

    The directions come from hidden states of training texts, or from the embeddings and weights alone. They keep the
    mean that a LayerNorm takes out, and lie as near to the axes as they can, so that norms go over (a width that is not
    cut is a copy). Heads are kept whole, the strongest where there are fewer; narrower heads keep the best low rank of
    what they compute (query with key, value with output). FFN neurons are the strongest. After PCA slicing of
    Ashkboos et al. 2024 (arXiv 2401.15024), for models that must keep their LayerNorms.
    """

    samples: int = Field(
        256, ge=0, description="training texts whose hidden states give the directions; 0: weights alone"
    )

    def narrowing(self, teacher: PreTrainedModel, from_shape: Shape, to_shape: Shape, given: Given) -> Narrowing:
        """Raises InputError for a student that is larger than its teacher somewhere, or has wider heads."""
        refuse_wider(from_shape, to_shape)
        refuse_wider_heads(from_shape, to_shape, "svd")
        if from_shape.width == to_shape.width:
            return Principal(torch.eye(from_shape.width), from_shape=from_shape, to_shape=to_shape)
        facts: dict[str, Any] = {"directions": "embeddings and weights"}
        if self.samples and given.sample is not None:
            moments = hidden_moments(teacher, given.sample(self.samples))
            facts["directions"] = f"hidden states of {self.samples} texts"
        else:
            moments = weight_moments(teacher)
        found = principal(moments, to_shape.width - 1)
        gain = math.sqrt(from_shape.width * found.kept / to_shape.width)
        return _principal(found, gain, facts, from_shape, to_shape)


def _principal(found: Directions, gain: float, facts: dict[str, Any], from_shape: Shape, to_shape: Shape) -> Narrowing:
    facts["kept_energy"] = round(found.kept, 4)
    return Principal(aligned(found).float(), gain, facts, from_shape=from_shape, to_shape=to_shape)


def weight_moments(teacher: PreTrainedModel) -> Tensor:
    """`[d, d]`: what the embeddings write into the hidden space, and what each layer reads from it and writes to it."""
    anatomy = anatomy_of(teacher)
    tables = table_moments(tables_of(teacher))
    total = tables / tables.trace()
    layers = anatomy.layer_list(teacher)
    share = 1 / len(layers)
    for layer in layers:
        for name in (anatomy.query, anatomy.key, anatomy.value, anatomy.ffn_in):
            total = total + share * gram(layer.get_parameter(f"{name}.weight").detach())
        for name in (anatomy.attention_output, anatomy.ffn_out):
            total = total + share * gram(layer.get_parameter(f"{name}.weight").detach().T)
    return total


def hidden_moments(teacher: PreTrainedModel, batches: Sequence[Batch]) -> Tensor:
    """`[d, d]` second moments of centred hidden states of real tokens, every layer counting the same."""
    sums = [torch.zeros(1, dtype=torch.float64)]

    def add(number: int, rows: Tensor) -> None:
        sums[0] = sums[0] + len(rows) * gram(rows).cpu()

    watch_states(teacher, batches, add)
    return sums[0] / sums[0].trace()


def _matrices(layer: Weights) -> HeadMatrices:
    query, key, value, output = (layer[f"{role}.weight"] for role in ("query", "key", "value", "attention_output"))
    return HeadMatrices(query, key, value, output)


@dataclass
class Principal(Narrowing):
    """Principal directions outside, whole or low-rank heads inside."""

    from_shape: Shape | None = None
    to_shape: Shape | None = None

    def cut(self, layer: Weights, numbers: Sequence[int]) -> Cut:
        """The strongest heads and neurons; heads that must be narrower are cut to their best low rank."""
        assert self.from_shape is not None and self.to_shape is not None
        one, two = self.from_shape, self.to_shape
        heads = torch.arange(one.heads)
        if two.heads < one.heads:
            heads = best(size_of_heads(_matrices(layer), one.heads), two.heads)
        neurons = torch.arange(one.ffn)
        if two.ffn < one.ffn:
            neurons = best(size_of_neurons(layer["ffn_in.weight"], layer["ffn_out.weight"]), two.ffn)
        if one.head_width == two.head_width:
            rows = selection(head_rows(heads, one.head_width), one.width)
            return Cut(rows, rows, rows, rows, neurons)
        parts = [self._narrow_head(layer, int(head), one, two) for head in heads]
        query, key, value, output = (torch.cat(maps) for maps in zip(*parts, strict=True))
        return Cut(query, key, value, output, neurons)

    def _narrow_head(self, layer: Weights, head: int, one: Shape, two: Shape) -> list[Tensor]:
        """`[e', a]` maps of query, key, value and output, for one head."""
        rows = slice(head * one.head_width, (head + 1) * one.head_width)

        def seen(role: str) -> Tensor:
            return torch.cat([layer[f"{role}.weight"][rows] @ self.hidden, layer[f"{role}.bias"][rows, None]], 1)

        query, key = joint_maps(seen("query"), seen("key"), two.head_width)
        # Scores are divided by the root of the head's width, which is now smaller.
        query = query * math.sqrt(two.head_width / one.head_width)
        written = layer["attention_output.weight"][:, rows].T @ self.hidden
        output, value = joint_maps(written, seen("value"), two.head_width)
        return [_placed(found.float(), rows, one.width) for found in (query, key, value, output)]

    def units(self, dense: Tensor, classes: Tensor) -> Tensor:
        """The strongest units."""
        return strongest_units(dense, classes, self.hidden.shape[1])


def _placed(found: Tensor, rows: slice, size: int) -> Tensor:
    whole = torch.zeros(found.shape[0], size)
    whole[:, rows] = found
    return whole
