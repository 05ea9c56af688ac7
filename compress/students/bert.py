"""BERT of any shape (Devlin et al. 2019, arXiv 1810.04805; smaller ones: Turc et al. 2019, arXiv 1908.08962)."""

from __future__ import annotations

from pydantic import Field
from transformers import BertConfig, PreTrainedModel

from compress.students.base import STUDENTS
from compress.students.inits.copy import Copy
from compress.students.shape import Shape, common
from compress.students.shaped import InitChoice, LayeredStudent


@STUDENTS.register("bert")
class BertStudent(LayeredStudent):
    """A stock BERT whatever the teacher's family: any depth, width, heads and FFN, over the teacher's vocabulary.

    With nothing given it is half of the teacher's layers at its own width, copied.
    """

    init: InitChoice = Field(Copy(), description="how weights start")

    def config(self, teacher: PreTrainedModel, shape: Shape) -> BertConfig:
        """A `BertConfig` with the teacher's vocabulary, positions, labels and activation."""
        dropout = getattr(teacher.config, "classifier_dropout", None)
        return BertConfig(
            **common(teacher, shape, self.dropout),
            classifier_dropout=dropout if self.dropout is None else self.dropout,
        )
