"""Margins between candidates (Hofstätter et al. 2020, "Margin-MSE", arXiv 2010.02666)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.groups import group_scores, mean_over_groups


@LOSSES.register("margin_mse")
class MarginMSE(Loss):
    """How much better one candidate of a query is than another shall be what the teacher says.

    ((s_i - s_j) - (t_i - t_j))^2, mean over the pairs of candidates of a query, then over queries. Logits `[b, 1]` are
    scores; rows with the same number in `groups` are one query's candidates. Only differences count, so the student
    may score on another level than the teacher (a dot product beside a cross-encoder's logit), but not on another
    scale. The paper takes one relevant and one other passage a query, a group of two; with more, every pair counts,
    and no label is needed.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits", "groups"})
    paper: ClassVar[str] = "Hofstätter et al. 2020, arXiv 2010.02666"

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar, 0 where no query has two candidates. Raises InputError without groups, and for several outputs."""
        teacher = required(teacher, "teacher")
        one, two, together = group_scores(student, teacher, "margin_mse")
        apart = one - two
        unequal = (apart[:, None] - apart[None, :]).square().where(together, 0.0).sum(1)
        return mean_over_groups(unequal / (together.sum(1) - 1).clamp(min=1), together)
