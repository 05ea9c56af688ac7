"""Squared error against the labels of a regression: what a student without a teacher trains on."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss
from compress.losses.outputs import flat_labels, flat_logits, mean_of_known


@LOSSES.register("hard_mse")
class HardMSE(Loss):
    """(value - label)^2, mean over rows that have a label. Logits `[b, 1]`, labels `[b]` float.

    Rows whose label is NaN have none: labelled and unlabelled rows can stand in one batch, and a batch without any
    label gives 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    needs_teacher: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True
    skips_unlabelled: ClassVar[bool] = True
    outputs: ClassVar[frozenset[str]] = frozenset({"value"})

    def __call__(self, student: Trace, teacher: Trace | None = None) -> Tensor:
        """Scalar. Raises InputError for a head with several outputs."""
        logits = flat_logits(student)
        if logits.shape[-1] != 1:
            raise InputError(f"hard_mse is for regression; this head has {logits.shape[-1]} classes: use hard_ce")
        labels = flat_labels(student).float()
        known = ~labels.isnan()
        # The label is filled before the square: a NaN that is dropped after it would still reach the gradient.
        return mean_of_known((logits[:, 0] - labels.where(known, 0.0)).square(), known)
