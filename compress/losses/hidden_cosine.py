"""Direction of hidden states (Sanh et al. 2019, "DistilBERT", arXiv 1910.01108)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from compress.core.layer_maps import LayerMap, all_pairs, layer_pairs
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.layers import compare_layers, same_width
from compress.losses.soft_maps import compare_hidden_softly, hidden_weights


@LOSSES.register("hidden_cosine")
class HiddenCosine(Loss):
    """1 - cos(student, teacher) of every real token's state, mean over tokens, mean over layer pairs.

    It asks for the direction of a state and leaves its length free. The paper compares the last layers only
    (`map: final`), beside the outputs of the masked-token head, with a student of the teacher's width. Where the
    widths differ, the objective projects the student's states.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"hidden"})
    paper: ClassVar[str] = "Sanh et al. 2019, arXiv 1910.01108"
    projects: ClassVar[bool] = True
    soft_maps: ClassVar[bool] = True

    map: Literal["final"] | LayerMap = Field(
        "final", description="final, uniform, last, first, explicit pairs, or learned: attention, transport"
    )

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar over hidden states `[b, s, d]`. Raises InputError for unequal widths (project them first)."""
        teacher = required(teacher, "teacher")
        if self.soft_map:
            return compare_hidden_softly(str(self.map), student, teacher, _cosine_distance) / student.depth
        total = compare_layers(student, teacher, self.pairs, _cosine_distance)
        return total / len(self.pairs(student.depth, teacher.depth))

    def pairs(self, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
        """(student layer, teacher layer) pairs that the term compares."""
        if self.map == "final":
            return [(student_depth, teacher_depth)]
        if self.soft_map:
            return all_pairs(student_depth, teacher_depth)
        return layer_pairs(self.map, student_depth, teacher_depth)

    def map_weights(self, student: Trace, teacher: Trace) -> Tensor | None:
        """Weights `[n, m]` of a soft map, mean over the rows."""
        return hidden_weights(str(self.map), student, teacher, _cosine_distance) if self.soft_map else None


def _cosine_distance(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    same_width(student, teacher)
    distance = 1 - functional.cosine_similarity(student, teacher, dim=-1)
    return distance[mask].mean()
