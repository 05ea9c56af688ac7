"""Soft labels: the teacher's distribution mixed with the smoothed label (Hinton et al. 2015, sec. 2)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from compress.core.trace import Trace
from compress.losses.base import DISTRIBUTIONS, LOSSES, Loss, required
from compress.losses.outputs import (
    UNLABELLED,
    class_labels,
    class_logits,
    label_cross_entropy,
    log_probabilities,
    same_outputs,
)


@LOSSES.register("soft_ce")
class SoftCE(Loss):
    """Cross-entropy with a mixture of the teacher's distribution and the smoothed label.

    a T^2 H(softmax(teacher / T), softmax(student / T)) + (1 - a) H(smoothed label, softmax(student)), where H(p, q) is
    -sum p log q: summed over classes, mean over the outputs that count. At T = 1 this is the cross-entropy with the
    one target a p_teacher + (1 - a) label. Only the softened part carries T^2, which keeps its gradient's size. A row
    whose label is -100 is given the teacher's distribution alone (a = 1), so unlabelled rows weigh as much as others.

    It is `logits_kl` and `hard_ce` in one term, but for the teacher's entropy, which is constant: the value does not
    reach 0 when the student agrees.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    needs_labels: ClassVar[bool] = True
    skips_unlabelled: ClassVar[bool] = True
    paper: ClassVar[str] = "Hinton, Vinyals, Dean 2015, arXiv 1503.02531; Szegedy et al. 2016, arXiv 1512.00567"
    outputs: ClassVar[frozenset[str]] = DISTRIBUTIONS

    alpha: float = Field(0.5, gt=0, le=1, description="the teacher's share a of the target; the label has the rest")
    temperature: float = Field(1.0, gt=0, le=1000, description="T, softens the teacher's part on both sides")
    smoothing: float = Field(0.0, ge=0, lt=1, description="share of the label spread over all classes")

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar. Raises InputError for one output, heads of different size, or a batch without labels."""
        one = class_logits(student, "soft_ce", "use logits_mse and hard_mse for a regression task")
        two = class_logits(required(teacher, "teacher"), "soft_ce", "use logits_mse and hard_mse for a regression task")
        same_outputs(one, two)
        labels = class_labels(student)
        target = log_probabilities(two, self.temperature).exp()
        soft = -(target * log_probabilities(one, self.temperature)).sum(-1) * self.temperature**2
        hard = label_cross_entropy(one, labels, self.smoothing)
        return (self.alpha * soft + (1 - self.alpha) * hard).where(labels != UNLABELLED, soft).mean()
