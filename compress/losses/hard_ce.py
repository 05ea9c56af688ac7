"""Cross-entropy against the labels: what a student without a teacher trains on."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss
from compress.losses.outputs import class_labels, class_logits


@LOSSES.register("hard_ce")
class HardCE(Loss):
    """-log p(label), mean over the labelled outputs that count, 0 for none.

    Logits `[b, c]` or `[b, s, c]`, labels `[b]` or `[b, s]`, -100 where unknown.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    needs_teacher: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True
    skips_unlabelled: ClassVar[bool] = True

    def __call__(self, student: Trace, teacher: Trace | None = None) -> Tensor:
        """Scalar. Raises InputError for a regression head, whose labels are no classes."""
        logits = class_logits(student, "hard_ce", "use hard_mse for a regression task")
        labels = class_labels(student)
        known = labels >= 0
        if not known.any():
            return logits.sum() * 0.0
        return functional.cross_entropy(logits[known], labels[known])
