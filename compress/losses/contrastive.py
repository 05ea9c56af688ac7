"""Contrastive distillation (Tian et al. 2020, "CRD", arXiv 1910.10699) with the batch as negatives."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from compress.core.trace import Trace
from compress.losses.base import LOSSES
from compress.losses.layers import directions, same_width
from compress.losses.texts import TextLoss


@LOSSES.register("contrastive")
class Contrastive(TextLoss):
    """The student's vector of a text shall be nearest to the teacher's vector of that text, among the whole batch.

    -log(exp(cos(s_i W, t_i) / T) / sum_j exp(cos(s_i W, t_j) / T)), mean over texts (InfoNCE, van den Oord et al. 2018,
    arXiv 1807.03748). Tian et al. bound the mutual information of both with the same idea, but against thousands of
    negatives in a memory bank; here the negatives are the batch. So the value grows with the batch, to log b for a
    student that knows nothing, and a batch that is repeated costs log 2 more: two of each text cannot be told apart.
    Use large batches, without duplicates. W exists only when the widths differ; it belongs to the objective.
    """

    paper: ClassVar[str] = "Tian, Krishnan, Isola 2020, arXiv 1910.10699"
    projects: ClassVar[bool] = True
    least_rows: ClassVar[int] = 2
    why: ClassVar[str] = "a softmax over one candidate is always 1"

    temperature: float = Field(0.07, gt=0, le=100, description="T; the smaller, the more the nearest negatives count")

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar. Raises InputError for a batch of one text, or unequal widths (project them first)."""
        return self.over_texts(student, teacher, self._nearest)

    def _nearest(self, student: Tensor, teacher: Tensor) -> Tensor:
        same_width(student, teacher)
        cosines = directions(student) @ directions(teacher).T
        return functional.cross_entropy(cosines / self.temperature, torch.arange(len(cosines), device=cosines.device))
