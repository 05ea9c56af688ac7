"""Squared error against the labels of a regression: what a student without a teacher trains on."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss
from compress.losses.outputs import flat_labels, flat_logits


@LOSSES.register("hard_mse")
class HardMSE(Loss):
    """(value - label)^2, mean over labelled rows, 0 for none. Logits `[b, 1]`, labels `[b]`, NaN where unknown."""

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    needs_teacher: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True
    skips_unlabelled: ClassVar[bool] = True

    def __call__(self, student: Trace, teacher: Trace | None = None) -> Tensor:
        """Scalar. Raises InputError for a head with several outputs."""
        logits = flat_logits(student)
        if logits.shape[-1] != 1:
            raise InputError(f"hard_mse is for regression; this head has {logits.shape[-1]} classes: use hard_ce")
        labels = flat_labels(student).float()
        known = ~labels.isnan()
        if not known.any():
            return logits.sum() * 0.0
        return functional.mse_loss(logits[known, 0], labels[known])
