"""Contrastive distillation (Tian et al. 2020, "CRD", arXiv 1910.10699) with the batch as negatives."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from compress.core.pairs import info_nce
from compress.core.trace import Trace
from compress.losses.base import LOSSES
from compress.losses.layers import directions, same_width
from compress.losses.texts import TextLoss

SAME = 1e-5  # of a cosine: one text in float32, computed twice


@LOSSES.register("contrastive")
class Contrastive(TextLoss):
    """The student's vector of a text shall be nearest to the teacher's vector of that text, among the whole batch.

    -log(e_ii / (e_ii + sum_j e_ij)) with e_ij = exp(cos(s_i W, t_j) / T), mean over texts (InfoNCE, van den Oord et al.
    2018, arXiv 1807.03748). Tian et al. bound the mutual information of both with the same idea, but against many
    negatives from a memory bank; here the negatives are the batch. The plain sum over them grows with the batch, to
    log b for a student that knows nothing, and so would the weight of this term. So the sum is `negatives` times the
    mean over the batch's: the batch is a sample, a larger one a better sample, and a student that knows nothing has
    log(1 + negatives) in each. A text that stands twice (the same vector of the teacher) is no negative of itself.
    W exists only when the widths differ; it belongs to the objective.
    """

    paper: ClassVar[str] = "Tian, Krishnan, Isola 2020, arXiv 1910.10699"
    projects: ClassVar[bool] = True
    least_rows: ClassVar[int] = 2
    why: ClassVar[str] = "a softmax over one candidate is always 1"

    temperature: float = Field(0.07, gt=0, le=100, description="T; the smaller, the more the nearest negatives count")
    negatives: int | None = Field(
        31, ge=1, description="how many negatives the batch's stand for, whatever its size; null: as many as it has"
    )

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar. Raises InputError for a batch of one text, or unequal widths (project them first)."""
        return self.over_texts(student, teacher, self._nearest)

    def _nearest(self, student: Tensor, teacher: Tensor) -> Tensor:
        same_width(student, teacher)
        own, told = directions(student), directions(teacher)
        others = told @ told.T < 1 - SAME
        return info_nce(own @ told.T / self.temperature, others, self.negatives).mean()
