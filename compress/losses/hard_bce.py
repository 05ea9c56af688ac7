"""Binary cross-entropy for every label of a multilabel task: what a student without a teacher trains on."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss
from compress.losses.outputs import UNLABELLED, flat_logits, label_rows, mean_of_known


@LOSSES.register("hard_bce")
class HardBCE(Loss):
    """-log p(yes or no) of every label by itself, mean over labels and rows.

    Logits `[b, c]`, labels `[b, c]` float: 1 where a label holds, 0 where not. Each label is a question of its own
    (a sigmoid, no softmax), so any number of them may hold. An entry of -100 is not known and does not count, nor
    does a row of them; a batch without any label gives 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    needs_teacher: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True
    skips_unlabelled: ClassVar[bool] = True
    outputs: ClassVar[frozenset[str]] = frozenset({"labels"})

    def __call__(self, student: Trace, teacher: Trace | None = None) -> Tensor:
        """Scalar. Raises InputError for labels that are not `[b, c]`."""
        logits = flat_logits(student)
        labels = label_rows(student, logits, "hard_bce")
        known = labels != UNLABELLED
        terms = functional.binary_cross_entropy_with_logits(logits, labels.where(known, 0.0), reduction="none")
        return mean_of_known(terms, known)
