"""Cross-entropy against the labels: what a student without a teacher trains on."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from compress.core.trace import Trace
from compress.losses.base import DISTRIBUTIONS, LOSSES, Loss
from compress.losses.outputs import UNLABELLED, class_labels, class_logits, label_cross_entropy, mean_of_known


@LOSSES.register("hard_ce")
class HardCE(Loss):
    """-log p(label), mean over the outputs that count and have a label.

    Logits `[b, c]`, `[b, s, c]` (tag, mask) or `[b, 2, s]` (answer: start and end), labels `[b]`, `[b, s]` or `[b, 2]`.
    Rows whose label is -100 have none: labelled and unlabelled rows can stand in one batch, and a batch without any
    label gives 0. With `smoothing` e the target is (1 - e) for the label and e shared evenly by all classes
    (Szegedy et al. 2016, arXiv 1512.00567). A teacher that was trained with smoothing tells less about the classes
    that it did not choose (Müller et al. 2019, arXiv 1906.02629), so smooth here rather than there.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    needs_teacher: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True
    skips_unlabelled: ClassVar[bool] = True
    outputs: ClassVar[frozenset[str]] = DISTRIBUTIONS

    smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes; 0.1 is usual")

    def __call__(self, student: Trace, teacher: Trace | None = None) -> Tensor:
        """Scalar. Raises InputError for a regression head, whose labels are no classes."""
        logits = class_logits(student, "hard_ce", "use hard_mse for a regression task")
        labels = class_labels(student)
        return mean_of_known(label_cross_entropy(logits, labels, self.smoothing), labels != UNLABELLED)
