"""Value relations of MiniLM (Wang et al. 2020, arXiv 2002.10957, sec. 3.2)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.layers import FinalMap, final_pairs, inner_pairs, mean_over, refuse_nothing, same_tokens
from compress.losses.relations import Heads, relation_kl


@LOSSES.register("value_relation_kl")
class ValueRelationKL(Loss):
    """KL of value relations: which tokens carry values that are alike.

    KL(softmax(v v^T / sqrt(e)) of the teacher || the same of the student) over real tokens; mean over real tokens and
    heads, then over layer pairs. The relation is `[s, s]` whatever the width of a head, so nothing is projected.
    MiniLM trains with the sum of this and `attention_kl` on the last layers, both with weight 1. It needs as many
    heads on both sides; where the numbers differ, the mean distribution over heads is compared, and `qkv_relation_kl`
    is the better choice.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"values"})
    paper: ClassVar[str] = "Wang et al. 2020, arXiv 2002.10957"

    map: FinalMap = "final"
    heads: Heads = "auto"

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar over values `[b, h, s, e]`. Raises InputError for a layer without values, or an empty mask."""
        teacher = required(teacher, "teacher")
        refuse_nothing(student.mask)
        same_tokens(student.mask, teacher.mask)
        return mean_over(
            [
                relation_kl(_sides(student, one), _sides(teacher, two), student.mask, self.heads, self.registered_name)
                for one, two in self.pairs(student.depth, teacher.depth)
            ]
        )

    def pairs(self, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
        """(student layer, teacher layer) pairs that the term compares. Raises InputError for layer 0."""
        return inner_pairs(final_pairs(self.map, student_depth, teacher_depth), self.registered_name)


def _sides(trace: Trace, layer: int) -> tuple[Tensor, Tensor]:
    values = trace.heads_at("values", layer)
    return values, values
