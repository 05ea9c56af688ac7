"""Direction of hidden states (Sanh et al. 2019, "DistilBERT", arXiv 1910.01108)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from compress.core.layer_maps import LayerMap, layer_pairs
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.layers import compare_layers, same_width


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

    map: Literal["final"] | LayerMap = Field("final", description="final, uniform, last, first, or explicit pairs")

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar over hidden states `[b, s, d]`. Raises InputError for unequal widths (project them first)."""
        teacher = required(teacher, "teacher")
        total = compare_layers(student, teacher, self.pairs, _cosine_distance)
        return total / len(self.pairs(student.depth, teacher.depth))

    def pairs(self, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
        """(student layer, teacher layer) pairs that the term compares."""
        if self.map == "final":
            return [(student_depth, teacher_depth)]
        return layer_pairs(self.map, student_depth, teacher_depth)


def _cosine_distance(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    same_width(student, teacher)
    distance = 1 - functional.cosine_similarity(student, teacher, dim=-1)
    return distance[mask].mean()
