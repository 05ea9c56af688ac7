"""Neuron selectivity transfer (Huang and Wang 2017, arXiv 1707.01219)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.layers import FinalMap, directions, final_pairs, mean_over, refuse_nothing, same_tokens


@LOSSES.register("mmd")
class MMD(Loss):
    """Maximum mean discrepancy between what the neurons of both models respond to.

    A neuron is a column x of a text's hidden states `[s, d]`: its responses to the real tokens, divided by their
    length. The student's d columns and the teacher's d' are two samples of such patterns, and
    MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y) is how far apart their distributions are; mean over texts,
    then over layer pairs. The widths may differ: no neuron has a partner and nothing is projected. Kernels: `linear`
    x y compares the mean patterns only; `polynomial` (x y)^2 compares the products of tokens as well, is the paper's
    best, and needs `[s, s]` memory alone; `gaussian` exp(-|x - y|^2 / 2 v) compares everything, with v the mean squared
    distance between both samples, and needs `[d, d]` for each text.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"hidden"})
    paper: ClassVar[str] = "Huang and Wang 2017, arXiv 1707.01219"

    map: FinalMap = "final"
    kernel: Literal["linear", "polynomial", "gaussian"] = Field("polynomial", description="k, see above")

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar over hidden states `[b, s, d]`. Raises InputError for an empty mask, or unequal tokens."""
        teacher = required(teacher, "teacher")
        refuse_nothing(student.mask)
        same_tokens(student.mask, teacher.mask)
        real = student.mask.any(1)
        compare = {"linear": _linear, "polynomial": _polynomial, "gaussian": _gaussian}[self.kernel]
        terms = []
        with torch.autocast(real.device.type, enabled=False):
            for one, two in self.pairs(student.depth, teacher.depth):
                mine, theirs = (_patterns(trace.hidden_at(layer), student.mask) for trace, layer in
                                ((student, one), (teacher, two)))  # fmt: skip
                terms.append(compare(mine, theirs)[real].mean())
        return mean_over(terms)

    def pairs(self, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
        """(student layer, teacher layer) pairs that the term compares."""
        return final_pairs(self.map, student_depth, teacher_depth)


def _patterns(hidden: Tensor, mask: Tensor) -> Tensor:
    """Columns of length 1 over the real tokens, `[b, s, d]`, 0 at padding."""
    return directions(hidden.float().where(mask.unsqueeze(-1), 0.0), dim=1)


def _linear(one: Tensor, two: Tensor) -> Tensor:
    return (one.mean(-1) - two.mean(-1)).square().sum(-1)


def _polynomial(one: Tensor, two: Tensor) -> Tensor:
    """The sum over pairs of columns of (x y)^2 is the squared norm of the token products, which is far smaller."""
    mine, theirs = (held @ held.transpose(1, 2) / held.shape[-1] for held in (one, two))
    return (mine - theirs).square().sum((1, 2))


def _gaussian(one: Tensor, two: Tensor) -> Tensor:
    across = _squared_distances(one, two)
    spread = across.detach().mean((1, 2), keepdim=True).clamp(min=1e-12)

    def mean(squared: Tensor) -> Tensor:
        return (squared / (-2 * spread)).exp().mean((1, 2))

    return mean(_squared_distances(one, one)) + mean(_squared_distances(two, two)) - 2 * mean(across)


def _squared_distances(one: Tensor, two: Tensor) -> Tensor:
    lengths = one.square().sum(1)[:, :, None] + two.square().sum(1)[:, None, :]
    return (lengths - 2 * one.transpose(1, 2) @ two).clamp(min=0)
