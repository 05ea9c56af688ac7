"""Distributions over candidates (ListNet, Cao et al. 2007; ColBERTv2, Santhanam et al. 2022, arXiv 2112.01488)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.groups import group_scores, mean_over_groups

ELSEWHERE = -1e30  # finite, so that differences of it are numbers; exp of it is 0


@LOSSES.register("ranking_kl")
class RankingKL(Loss):
    """The distribution over the candidates of a query shall be the teacher's.

    T^2 KL(softmax(teacher / T) || softmax(student / T)) over the candidates of each query, mean over queries that have
    two or more. Logits `[b, 1]` are scores; rows with the same number in `groups` are one query's candidates. Unlike
    `margin_mse` it looks hardest at the top of the list, and hard negatives far below it hardly count. ColBERTv2 was
    trained so from a cross-encoder, 64 candidates a query.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits", "groups"})
    paper: ClassVar[str] = "Cao et al. 2007 (ListNet); Santhanam et al. 2022, arXiv 2112.01488"

    temperature: float = Field(1.0, gt=0, le=1000, description="T, softens both distributions")

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar, 0 where no query has two candidates. Raises InputError without groups, and for several outputs."""
        teacher = required(teacher, "teacher")
        one, two, together = group_scores(student, teacher, "ranking_kl")

        def logs(scores: Tensor) -> Tensor:
            rows = (scores / self.temperature).expand(len(scores), -1)
            return functional.log_softmax(rows.masked_fill(~together, ELSEWHERE), -1)

        apart = functional.kl_div(logs(one), logs(two), reduction="none", log_target=True).sum(-1)
        return mean_over_groups(apart, together) * self.temperature**2
