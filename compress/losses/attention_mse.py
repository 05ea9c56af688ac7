"""Attention of TinyBERT (Jiao et al. 2020, arXiv 1909.10351, eq. 7)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from compress.core.errors import InputError
from compress.core.layer_maps import LayerMap, all_pairs, layer_pairs
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.layers import same_tokens
from compress.losses.soft_maps import compare_softly


@LOSSES.register("attention_mse")
class AttentionMSE(Loss):
    """MSE of the unnormalised attention scores q k^T / sqrt(e), over pairs of real tokens, summed over layer pairs.

    The paper compares scores before the softmax, which it found to converge faster. It needs as many heads on both
    sides; where the numbers differ, the mean over heads is compared instead.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"attention"})
    paper: ClassVar[str] = "Jiao et al. 2020, arXiv 1909.10351"
    soft_maps: ClassVar[bool] = True

    map: LayerMap = "uniform"

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar over scores `[b, h, s, s]`. Raises InputError for a layer without attention, unequal tokens, or an
        empty mask.
        """
        teacher = required(teacher, "teacher")
        same_tokens(student.mask, teacher.mask)
        if self.soft_map:
            return self._softly(student, teacher)[0]
        pairs = self.pairs(student.depth, teacher.depth)
        real = student.mask[:, None, :, None] & student.mask[:, None, None, :]
        terms = [_mse(student.attention_scores(one), teacher.attention_scores(two), real) for one, two in pairs]
        return torch.stack(terms).sum()

    def pairs(self, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
        """(student layer, teacher layer) pairs that the term compares. Raises InputError for layer 0."""
        if self.soft_map:
            return all_pairs(student_depth, teacher_depth)
        pairs = layer_pairs(self.map, student_depth, teacher_depth)
        if any(0 in pair for pair in pairs):
            raise InputError("attention_mse: layer 0 is the embedding output and has no attention; layers count from 1")
        return pairs

    def map_weights(self, student: Trace, teacher: Trace) -> Tensor | None:
        """Weights `[n, m]` of a soft map, mean over the rows."""
        return self._softly(student, teacher)[1] if self.soft_map else None

    def _softly(self, student: Trace, teacher: Trace) -> tuple[Tensor, Tensor]:
        real = student.mask[:, None, :, None] & student.mask[:, None, None, :]
        return compare_softly(
            str(self.map),
            [student.attention_scores(layer).float() for layer in range(1, student.depth + 1)],
            [teacher.attention_scores(layer).float() for layer in range(1, teacher.depth + 1)],
            lambda one, two: _mse(one, two, real),
            lambda scores: _pooled(scores, real),
        )


def _mse(student: Tensor, teacher: Tensor, real: Tensor) -> Tensor:
    student, teacher = student.float(), teacher.float()
    if student.shape[1] != teacher.shape[1]:
        student, teacher = student.mean(1, keepdim=True), teacher.mean(1, keepdim=True)
    count = real.sum() * student.shape[1]
    if count == 0:
        raise InputError("every position is masked; a loss over nothing is not defined")
    return ((student - teacher).square() * real).sum() / count


def _pooled(scores: Tensor, real: Tensor) -> Tensor:
    """Scores `[b, h, s, s]` as one vector `[b, s * s]`: mean over heads, less the mean over pairs of real tokens.

    Without the latter the cosine of two layers would tell little more than the sign of their means.
    """
    mean, pairs = scores.mean(1), real[:, 0].float()
    middle = (mean * pairs).sum((1, 2), keepdim=True) / pairs.sum((1, 2), keepdim=True).clamp(min=1)
    return ((mean - middle) * pairs).flatten(1)
