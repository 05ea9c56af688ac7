"""Attention transfer of MiniLM (Wang et al. 2020, arXiv 2002.10957, sec. 3.1)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.layers import FinalMap, final_pairs, inner_pairs, mean_over, refuse_nothing, same_tokens
from compress.losses.relations import Heads, relation_kl


@LOSSES.register("attention_kl")
class AttentionKL(Loss):
    """KL of attention probabilities: where the teacher looks, the student shall look.

    KL(softmax(q k^T / sqrt(e)) of the teacher || the same of the student) over real keys; mean over real queries and
    heads, then over layer pairs. MiniLM compares the last layers only (`map: final`), which frees the student's depth,
    and adds `value_relation_kl`; `attention_mse` compares the scores before the softmax instead. The paper needs as
    many heads on both sides. Where the numbers differ, head 3 of one has no partner in the other: what is compared
    then is the mean distribution over heads, which says less.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"attention"})
    paper: ClassVar[str] = "Wang et al. 2020, arXiv 2002.10957"

    map: FinalMap = "final"
    heads: Heads = "auto"

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar over scores `[b, h, s, s]`. Raises InputError for a layer without attention, or an empty mask."""
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
    return trace.heads_at("queries", layer), trace.heads_at("keys", layer)
