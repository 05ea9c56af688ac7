"""Attention transfer of MiniLM (Wang et al. 2020, arXiv 2002.10957, sec. 3.1)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from compress.core.trace import Trace
from compress.losses.base import LOSSES
from compress.losses.relations import RelationLoss


@LOSSES.register("attention_kl")
class AttentionKL(RelationLoss):
    """KL of attention probabilities: where the teacher looks, the student shall look.

    KL(softmax(q k^T / sqrt(e)) of the teacher || the same of the student) over real keys; mean over real queries and
    heads, then over layer pairs. MiniLM compares the last layers only (`map: final`), which frees the student's depth,
    and adds `value_relation_kl`; `attention_mse` compares the scores before the softmax instead. The paper needs as
    many heads on both sides. Where the numbers differ, head 3 of one has no partner in the other: what is compared
    then is the mean distribution over heads, which says less.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"attention"})
    paper: ClassVar[str] = "Wang et al. 2020, arXiv 2002.10957"

    def sides(self, trace: Trace, layer: int) -> tuple[Tensor, Tensor]:
        """Queries and keys. Raises InputError for a model whose scores are more than their product."""
        return trace.score_sides(layer)
