"""Angles of relational distillation (Park et al. 2019, arXiv 1904.05068, sec. 3.2)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from compress.core.trace import Trace
from compress.losses.base import LOSSES
from compress.losses.layers import directions
from compress.losses.outputs import mean_of_known
from compress.losses.texts import TextLoss


@LOSSES.register("rkd_angle")
class RKDAngle(TextLoss):
    """The angle that three texts form shall be the teacher's.

    Huber(cos of the angle at x_j between x_i and x_k of the student, the same of the teacher), mean over all ordered
    triples. Free of the student's width, scale, rotation and origin; finer than `rkd_distance`, and the paper's
    stronger term (twice the weight). Triples in which the teacher puts two texts in one place do not count; a batch
    without any other (short texts that repeat stand together) gives 0. Time and memory grow with b^2 d and b^3: 64
    texts of width 768 take about 50 MB, 256 take 1 GB.
    """

    paper: ClassVar[str] = "Park et al. 2019, arXiv 1904.05068"
    least_rows: ClassVar[int] = 3
    why: ClassVar[str] = "an angle is formed by three"

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar, 0 when the teacher gives no three texts apart. Raises InputError for fewer than three texts."""
        return self.over_texts(student, teacher, _relation)


def _relation(student: Tensor, teacher: Tensor) -> Tensor:
    apart = (teacher[None] != teacher[:, None]).any(-1)
    triples = apart[:, :, None] & apart[:, None, :] & apart[None]
    unequal = functional.smooth_l1_loss(_cosines(student), _cosines(teacher), reduction="none")
    return mean_of_known(unequal, triples)


def _cosines(vectors: Tensor) -> Tensor:
    """`[b, b, b]`: at `[j, i, k]` the cosine at j; 0, with gradient 0, where a side has no length."""
    sides = directions(vectors[None] - vectors[:, None])
    return sides @ sides.transpose(1, 2)
