"""Flow of the solution procedure (Yim et al. 2017, "A Gift from Knowledge Distillation", CVPR)."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from compress.core.errors import InputError
from compress.core.layer_maps import LayerMap, layer_pairs
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.layers import mean_over, refuse_nothing, same_width


@LOSSES.register("fsp_mse")
class FSPMSE(Loss):
    """How a text's states change from one layer to the next shall be the teacher's.

    G = H_k^T H_l / n over the n real tokens of a text, `[d, d]`: which features of layer k go together with which of
    layer l. MSE of the student's and the teacher's G over entries, mean over texts, then over the neighbours of the
    layer map (embeddings to its first layer, first to second, ...). The paper trains a start for the student with it
    before the task is learnt. Where the widths differ, the objective projects the student's states.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"hidden"})
    paper: ClassVar[str] = "Yim et al. 2017, CVPR, doi 10.1109/CVPR.2017.754"
    projects: ClassVar[bool] = True

    map: LayerMap = "uniform"

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar over hidden states `[b, s, d]`. Raises InputError for unequal widths, or an empty mask."""
        teacher = required(teacher, "teacher")
        refuse_nothing(student.mask)
        terms = []
        with torch.autocast(student.mask.device.type, enabled=False):
            for below, above in pairwise(self.pairs(student.depth, teacher.depth)):
                one, two = _layers(student, below[0], above[0]), _layers(teacher, below[1], above[1])
                for mine, theirs in zip(one, two, strict=True):
                    same_width(mine, theirs)
                terms.append(_squared_distance(one, two)[student.mask.any(1)].mean())
        return mean_over(terms)

    def pairs(self, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
        """(student layer, teacher layer) pairs whose neighbours are compared; the first pair is the embeddings."""
        pairs = layer_pairs(self.map, student_depth, teacher_depth)
        pairs = [(0, 0), *(pair for pair in pairs if pair != (0, 0))]
        if len(pairs) < 2:
            raise InputError("fsp_mse compares what happens between two layers; the map names the embeddings alone")
        return pairs


def _layers(trace: Trace, below: int, above: int) -> tuple[Tensor, Tensor]:
    """States of two layers `[b, s, d]`, 0 at padding, so that the mean over real tokens of their products is H^T H."""
    real = trace.mask.unsqueeze(-1)
    share = real.sum(1, keepdim=True).clamp(min=1).sqrt()
    one, two = (trace.hidden_at(layer).float().where(real, 0.0) / share for layer in (below, above))
    return one, two


def _squared_distance(one: tuple[Tensor, Tensor], two: tuple[Tensor, Tensor]) -> Tensor:
    """Mean over the entries of (a^T b - a'^T b')^2, for each text `[b]`.

    |a^T b - a'^T b'|^2 is aa^T . bb^T + a'a'^T . b'b'^T - 2 aa'^T . bb'^T: `[s, s]` products instead of `[d, d]`.
    """

    def product(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> Tensor:
        below, above = (x @ y.transpose(1, 2) for x, y in zip(left, right, strict=True))
        return (below * above).sum((1, 2))

    total = product(one, one) + product(two, two) - 2 * product(one, two)
    return total.clamp(min=0) / one[0].shape[-1] ** 2
