"""Hidden states and embeddings of TinyBERT (Jiao et al. 2020, arXiv 1909.10351, eq. 8 and 9)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from compress.core.layer_maps import LayerMap, all_pairs, layer_pairs
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.layers import compare_layers, same_width
from compress.losses.soft_maps import compare_hidden_softly, hidden_weights


@LOSSES.register("hidden_mse")
class HiddenMSE(Loss):
    """MSE(H_student W, H_teacher) over real tokens and widths, summed over layer pairs as in the paper.

    W exists only when the widths differ; it belongs to the objective and never reaches the student. The paper trains
    with it in both stages, together with `attention_mse`, before the outputs are compared.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"hidden"})
    paper: ClassVar[str] = "Jiao et al. 2020, arXiv 1909.10351"
    projects: ClassVar[bool] = True
    soft_maps: ClassVar[bool] = True

    map: LayerMap = "uniform"
    embeddings: bool = Field(True, description="also compare the embedding outputs (eq. 9)")

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar over hidden states `[b, s, d]`. Raises InputError for unequal widths (project them first)."""
        teacher = required(teacher, "teacher")
        if not self.soft_map:
            return compare_layers(student, teacher, self.pairs, _mse)
        layers = compare_hidden_softly(str(self.map), student, teacher, _mse)
        if not self.embeddings:
            return layers
        return layers + compare_layers(student, teacher, lambda *_: [(0, 0)], _mse)

    def pairs(self, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
        """(student layer, teacher layer) pairs that the term compares; (0, 0) stands for the embeddings."""
        if self.soft_map:
            pairs = all_pairs(student_depth, teacher_depth)
        else:
            pairs = layer_pairs(self.map, student_depth, teacher_depth)
        return [(0, 0), *pairs] if self.embeddings and (0, 0) not in pairs else pairs

    def map_weights(self, student: Trace, teacher: Trace) -> Tensor | None:
        """Weights `[n, m]` of a soft map, mean over the rows."""
        return hidden_weights(str(self.map), student, teacher, _mse) if self.soft_map else None


def _mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Of states `[b, s, d]` under a mask `[b, s]`. Padding differs from itself by nothing; so one pass sums it all."""
    same_width(student, teacher)
    target = torch.where(mask.unsqueeze(-1), teacher, student.detach())
    return functional.mse_loss(student, target, reduction="sum") / (mask.sum() * student.shape[-1])
