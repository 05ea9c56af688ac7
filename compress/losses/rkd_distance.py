"""Distances of relational distillation (Park et al. 2019, arXiv 1904.05068, sec. 3.2)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from compress.core.trace import Trace
from compress.losses.base import LOSSES
from compress.losses.outputs import mean_of_known
from compress.losses.texts import TextLoss


@LOSSES.register("rkd_distance")
class RKDDistance(TextLoss):
    """The distance between two texts, measured in the batch's mean distance, shall be the teacher's.

    Huber(|x_i - x_j| / mean distance of the student, the same of the teacher), mean over pairs of texts. A shift, a
    rotation or a scale of the student's space costs nothing, and neither does another width. Pairs that the teacher
    puts in one place (a text that stands twice in the batch) do not count; a batch without any other (short texts that
    repeat stand together) gives 0. The unit is the mean of the batch, so the value of a pair depends on its neighbours;
    larger batches measure it better. The paper weighs this term 25 beside `rkd_angle` 50 when it classifies images, 1
    beside 2 when it embeds them.
    """

    paper: ClassVar[str] = "Park et al. 2019, arXiv 1904.05068"
    least_rows: ClassVar[int] = 3
    why: ClassVar[str] = "two texts have one distance, which divided by the mean distance is always 1"

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar, 0 when the teacher gives all the same vector. Raises InputError for fewer than three texts."""
        return self.over_texts(student, teacher, _relation)


def _relation(student: Tensor, teacher: Tensor) -> Tensor:
    one, two = _distances(student), _distances(teacher)
    apart = two > 0
    one, two = (held / mean_of_known(held, apart).clamp(min=1e-12) for held in (one, two))
    return mean_of_known(functional.smooth_l1_loss(one, two, reduction="none"), apart)


def _distances(vectors: Tensor) -> Tensor:
    """`[b, b]`. Not through products, which lose near pairs to rounding; the gradient at distance 0 is 0."""
    return torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
