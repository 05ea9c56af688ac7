"""ELECTRA: BERT's layers over narrower embedding tables (Clark et al. 2020, arXiv 2003.10555)."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field, model_validator
from transformers import ElectraConfig, PreTrainedModel

from compress.students.base import STUDENTS
from compress.students.inits.svd import Svd
from compress.students.shape import Shape, common
from compress.students.shaped import InitChoice, LayeredStudent, refuse_wide_embedding


@STUDENTS.register("electra")
class ElectraStudent(LayeredStudent):
    """A stock ELECTRA: tables of width `embedding`, a projection, and layers of any shape.

    The tables start from the singular values of the teacher's. Their norm acts in the narrow space, so that this is a
    start to distil from and not the teacher's embedding.
    """

    embedding: int = Field(
        128, ge=4, description="width of the embedding tables; the hidden size itself leaves no projection"
    )
    init: InitChoice = Field(Svd(), description="how weights start")

    @model_validator(mode="after")
    def _embedding_fits(self) -> ElectraStudent:
        if self.width is not None and self.embedding > self.width:
            raise ValueError(f"embedding {self.embedding} is wider than the width {self.width}; use at most that")
        return self

    def shape(self, teacher: Shape) -> Shape:
        """Raises InputError for tables that are wider than the layers."""
        shape = super().shape(teacher)
        refuse_wide_embedding(self.embedding, shape.width)
        return replace(shape, embedding=self.embedding)

    def config(self, teacher: PreTrainedModel, shape: Shape) -> ElectraConfig:
        """An `ElectraConfig` with the teacher's vocabulary, positions, labels and activation."""
        dropout = getattr(teacher.config, "classifier_dropout", None)
        return ElectraConfig(
            **common(teacher, shape, self.dropout),
            embedding_size=shape.embedding,
            classifier_dropout=dropout if self.dropout is None else self.dropout,
        )
