"""Value relations of MiniLM (Wang et al. 2020, arXiv 2002.10957, sec. 3.2)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from compress.core.trace import Trace
from compress.losses.base import LOSSES
from compress.losses.relations import RelationLoss


@LOSSES.register("value_relation_kl")
class ValueRelationKL(RelationLoss):
    """KL of value relations: which tokens carry values that are alike.

    KL(softmax(v v^T / sqrt(e)) of the teacher || the same of the student) over real tokens; mean over real tokens and
    heads, then over layer pairs. The relation is `[s, s]` whatever the width of a head, so nothing is projected.
    MiniLM trains with the sum of this and `attention_kl` on the last layers, both with weight 1. It needs as many
    heads on both sides; where the numbers differ, the mean distribution over heads is compared, and `qkv_relation_kl`
    is the better choice.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"values"})
    paper: ClassVar[str] = "Wang et al. 2020, arXiv 2002.10957"

    def sides(self, trace: Trace, layer: int) -> tuple[Tensor, Tensor]:
        """The values, twice."""
        values = trace.heads_at("values", layer)
        return values, values
