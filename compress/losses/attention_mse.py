"""Attention of TinyBERT (Jiao et al. 2020, arXiv 1909.10351, eq. 7)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from compress.core.errors import InputError
from compress.core.layer_maps import LayerMap, layer_pairs
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required


@LOSSES.register("attention_mse")
class AttentionMSE(Loss):
    """MSE of the unnormalised attention scores q k^T / sqrt(e), over pairs of real tokens, summed over layer pairs.

    The paper compares scores before the softmax, which it found to converge faster. It needs as many heads on both
    sides; where the numbers differ, the mean over heads is compared instead.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"attention"})
    paper: ClassVar[str] = "Jiao et al. 2020, arXiv 1909.10351"

    map: LayerMap = "uniform"

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar over scores `[b, h, s, s]`. Raises InputError for a layer without attention, or an empty mask."""
        teacher = required(teacher, "teacher")
        pairs = self.pairs(student.depth, teacher.depth)
        real = student.mask[:, None, :, None] & student.mask[:, None, None, :]
        terms = [_mse(student.attention_scores(one), teacher.attention_scores(two), real) for one, two in pairs]
        return torch.stack(terms).sum()

    def pairs(self, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
        """(student layer, teacher layer) pairs that the term compares. Raises InputError for layer 0."""
        pairs = layer_pairs(self.map, student_depth, teacher_depth)
        if any(0 in pair for pair in pairs):
            raise InputError("attention_mse: layer 0 is the embedding output and has no attention; layers count from 1")
        return pairs


def _mse(student: Tensor, teacher: Tensor, real: Tensor) -> Tensor:
    student, teacher = student.float(), teacher.float()
    if student.shape[1] != teacher.shape[1]:
        student, teacher = student.mean(1, keepdim=True), teacher.mean(1, keepdim=True)
    count = real.sum() * student.shape[1]
    if count == 0:
        raise InputError("every position is masked; a loss over nothing is not defined")
    return ((student - teacher).square() * real).sum() / count
