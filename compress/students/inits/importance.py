"""The most important heads, neurons and hidden units of the teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.anatomy.blocks import AttentionBlock, FfnBlock, stored_layers
from compress.core.errors import InputError
from compress.importance.base import IMPORTANCES, Evidence, Scores
from compress.students.base import Batch, Given
from compress.students.embeddings import table_moments, tables_of
from compress.students.inits.base import INITS, Init, refuse_wider
from compress.students.narrowing import Cut, Narrowing, Weights, best, head_rows, selection, strongest_units
from compress.students.shape import Shape


@INITS.register("importance")
class Importance(Init):
    """Whole heads, FFN neurons and hidden units, the best of each, in the teacher's order.

    magnitude: from the weights. activation: from what each part adds on training texts. taylor: from what the task's
    loss would lose without it, to first order (Michel et al. 2019, arXiv 1905.10650).
    """

    by: Literal["magnitude", "activation", "taylor"] = Field("magnitude", description="what importance is read from")
    hidden: Literal["ranked", "leading"] = Field(
        "ranked", description="hidden units: the most important ones, or the first ones"
    )
    samples: int = Field(256, ge=1, description="training texts to look at; magnitude looks at none")

    def narrowing(self, teacher: PreTrainedModel, from_shape: Shape, to_shape: Shape, given: Given) -> Narrowing:
        """Raises InputError for a larger student, for heads of another width, and where texts are missing."""
        refuse_wider(from_shape, to_shape)
        if from_shape.head_width != to_shape.head_width:
            raise InputError(
                f"heads: {to_shape.heads} heads on a width of {to_shape.width} are {to_shape.head_width} wide and the "
                f"teacher's {from_shape.head_width}, and importance keeps heads whole; choose a width that is "
                f"{from_shape.head_width} times the heads, or `init: svd`, which makes heads narrower"
            )
        scores = self._scores(teacher, given)
        units = torch.arange(to_shape.width)
        if scores.hidden is not None:
            units = best(scores.hidden, to_shape.width)
        facts: dict[str, Any] = {"importance": self.by}
        if self.by != "magnitude":
            facts["samples"] = self.samples
        anatomy = anatomy_of(teacher)
        energy = table_moments(tables_of(teacher)).diagonal()
        kept = float(energy[units].sum() / energy.sum())
        return Ranked(
            selection(units, from_shape.width).T.contiguous(),
            math.sqrt(from_shape.width * kept / to_shape.width),
            facts,
            heads=_by_run(teacher, scores.heads, anatomy.attention_blocks(teacher)),
            neurons=_by_run(teacher, scores.neurons, anatomy.ffn_blocks(teacher)),
            from_shape=from_shape,
            to_shape=to_shape,
        )

    def _scores(self, teacher: PreTrainedModel, given: Given) -> Scores:
        evidence = Evidence()
        if self.by != "magnitude":
            evidence = Evidence(batches=self._texts(given), loss=given.loss)
        wanted = frozenset({"heads", "neurons", "hidden"} if self.hidden == "ranked" else {"heads", "neurons"})
        return IMPORTANCES.get(self.by)().score(teacher, wanted, evidence)

    def _texts(self, given: Given) -> Sequence[Batch]:
        if given.sample is None:
            raise InputError(
                f"by: {self.by} looks at training texts, and none were given; use `by: magnitude`, or "
                f"`build(teacher, auto_class, Given(sample=...))`"
            )
        return given.sample(self.samples)


def _by_run(
    teacher: PreTrainedModel, scores: Mapping[str, Tensor], blocks: Sequence[AttentionBlock | FfnBlock]
) -> dict[int, Tensor]:
    """By the number of a layer in the order in which they run; a layer that runs several times has one score."""
    runs = anatomy_of(teacher).layer_list(teacher)
    stored = {layer: number for number, layer in enumerate(stored_layers(runs), start=1)}
    by_layer = {block.layer: scores[block.name] for block in blocks}
    return {number: by_layer[stored[layer]] for number, layer in enumerate(runs, start=1)}


@dataclass
class Ranked(Narrowing):
    """The best of every space. heads, neurons: layer of the teacher (from 1) to `[h]` and `[f]`, larger counts more."""

    heads: dict[int, Tensor] = field(default_factory=dict)
    neurons: dict[int, Tensor] = field(default_factory=dict)
    from_shape: Shape | None = None
    to_shape: Shape | None = None

    def cut(self, layer: Weights, numbers: Sequence[int]) -> Cut:
        """Whole heads and neurons; over a mean of layers, by the sum of their scores."""
        assert self.from_shape is not None and self.to_shape is not None
        heads = best(torch.stack([self.heads[n] for n in numbers]).sum(0), self.to_shape.heads)
        neurons = best(torch.stack([self.neurons[n] for n in numbers]).sum(0), self.to_shape.ffn)
        rows = selection(head_rows(heads, self.from_shape.head_width), self.from_shape.width)
        return Cut(rows, rows, rows, rows, neurons)

    def units(self, dense: Tensor, classes: Tensor) -> Tensor:
        """The strongest units."""
        return strongest_units(dense, classes, self.hidden.shape[1])
