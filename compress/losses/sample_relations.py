"""Similarity-preserving distillation (Tung and Mori 2019, arXiv 1907.09682)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from compress.core.trace import Trace
from compress.losses.base import LOSSES
from compress.losses.layers import directions
from compress.losses.texts import TextLoss


@LOSSES.register("sample_relations")
class SampleRelations(TextLoss):
    """Texts that are alike to the teacher shall be alike to the student.

    G = A A^T over the batch's vectors A `[b, d]`, each row divided by its length; the squared distance of the
    student's and the teacher's rows, mean over texts. Nothing is projected: both G are `[b, b]`. The paper took
    flattened image features and divides by b^2 instead of b, which makes the term shrink as batches grow (and needed
    a weight of 3000); here a batch that is repeated keeps its value.
    """

    paper: ClassVar[str] = "Tung and Mori 2019, arXiv 1907.09682"
    least_rows: ClassVar[int] = 2
    why: ClassVar[str] = "one text is related to nothing but itself, whatever its vector"

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar. Raises InputError for a batch of one text, or an empty mask."""
        return self.over_texts(student, teacher, _distance)


def _distance(student: Tensor, teacher: Tensor) -> Tensor:
    one, two = directions(student @ student.T), directions(teacher @ teacher.T)
    return (one - two).square().sum(-1).mean()
