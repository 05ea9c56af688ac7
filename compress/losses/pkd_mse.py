"""Patient distillation of first tokens (Sun et al. 2019, "BERT-PKD", arXiv 1908.09355)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from compress.core.layer_maps import LayerMap, layer_pairs
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.layers import directions, mean_over, refuse_nothing, same_width
from compress.losses.texts import text_vectors


@LOSSES.register("pkd_mse")
class PKDMSE(Loss):
    """Squared distance of the first token's states, each divided by its length; mean over texts and layer pairs.

    |s / |s| - t / |t||^2, which is 2 - 2 cos(s, t). It looks at [CLS] alone, where a classifier reads, and patiently at
    every layer: `map: uniform` is the paper's PKD-Skip and `map: last` its PKD-Last, but for the last layer, which it
    leaves to `logits_kl` and explicit pairs can leave out. Where the widths differ, the objective projects the
    student's states.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"hidden"})
    paper: ClassVar[str] = "Sun et al. 2019, arXiv 1908.09355"
    projects: ClassVar[bool] = True

    map: LayerMap = "uniform"

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar over hidden states `[b, s, d]`. Raises InputError for unequal widths (project them first)."""
        teacher = required(teacher, "teacher")
        refuse_nothing(student.mask)
        terms = []
        for one, two in self.pairs(student.depth, teacher.depth):
            mine, theirs = text_vectors(student, "first", one), text_vectors(teacher, "first", two)
            same_width(mine, theirs)
            apart = directions(mine) - directions(theirs)
            terms.append(apart.square().sum(-1)[student.mask.any(1)].mean())
        return mean_over(terms)

    def pairs(self, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
        """(student layer, teacher layer) pairs that the term compares."""
        return layer_pairs(self.map, student_depth, teacher_depth)
