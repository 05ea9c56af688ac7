"""ALBERT: factorized embeddings, and one layer that runs many times (Lan et al. 2020, arXiv 1909.11942)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, model_validator
from transformers import AlbertConfig, PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.core.errors import InputError
from compress.students.base import STUDENTS
from compress.students.inherit import Sources
from compress.students.inits.random import Random
from compress.students.inits.svd import Svd
from compress.students.shape import Shape, common
from compress.students.shaped import Depth, InitChoice, ShapedStudent, refuse_wide_embedding


@STUDENTS.register("albert")
class AlbertStudent(ShapedStudent):
    """A stock ALBERT: tables of width `embedding`, a projection, and a single set of layer weights.

    It is small on disk, and no faster than a BERT of its depth and width. The tables start from the singular values of
    the teacher's; the layer from the mean of the teacher's layers or from one of them (for layers that are to run
    several times Bae et al. 2025, arXiv 2410.20672, compare such starts). Repairing either is what distillation is for.
    """

    layers: Depth = Field("all", description="how often the layer runs; as often as the teacher has layers, or half")
    embedding: int = Field(128, ge=4, description="width of the embedding tables; at most the hidden size")
    layer: Annotated[int, Field(ge=1)] | Literal["average"] = Field(
        "average", description="what the shared layer starts from: the mean of all, or one of the teacher's layers"
    )
    init: InitChoice = Field(Svd(), description="how weights start")

    @model_validator(mode="after")
    def _fits(self) -> AlbertStudent:
        if self.width is not None and self.embedding > self.width:
            raise ValueError(f"embedding {self.embedding} is wider than the width {self.width}; use at most that")
        if self.init.layers is not None:
            raise ValueError(f"init {self.init.registered_name} starts several layers, an ALBERT has one; say `layer`")
        return self

    def shape(self, teacher: Shape) -> Shape:
        """Raises InputError for tables that are wider than the layers."""
        shape = super().shape(teacher)
        refuse_wide_embedding(self.embedding, shape.width)
        return replace(shape, embedding=self.embedding)

    def sources(self, teacher: PreTrainedModel, layers: int) -> Sources:
        """The same for every run. Raises InputError for a layer that the teacher does not have."""
        depth = anatomy_of(teacher).depth(teacher)
        if isinstance(self.init, Random):
            return {}
        if self.layer != "average" and self.layer > depth:
            raise InputError(f"layer: {self.layer} is past the teacher's {depth} layers; use 1 to {depth}, or average")
        chosen = tuple(range(1, depth + 1)) if self.layer == "average" else (self.layer,)
        return dict.fromkeys(range(1, layers + 1), chosen)

    def config(self, teacher: PreTrainedModel, shape: Shape) -> AlbertConfig:
        """An `AlbertConfig` of one group, with the teacher's vocabulary, positions, labels and activation."""
        return albert_config(teacher, shape, self.dropout)


def albert_config(
    teacher: PreTrainedModel, shape: Shape, dropout: float | None = None, groups: int = 1
) -> AlbertConfig:
    """With the teacher's vocabulary, positions, labels and activation. dropout: None is the teacher's."""
    keys = common(teacher, shape, dropout)
    own = (getattr(teacher.config, name, None) for name in ("classifier_dropout", "classifier_dropout_prob"))
    head = next((found for found in own if found is not None and dropout is None), keys["hidden_dropout_prob"])
    return AlbertConfig(
        **keys,
        embedding_size=shape.embedding,
        num_hidden_groups=groups,
        inner_group_num=1,
        classifier_dropout_prob=head,
    )
