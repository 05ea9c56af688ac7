"""Cosine regression on pairs with a score: what a student of embeddings without a teacher trains on (STS)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from compress.core.pairs import cosine_errors
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss
from compress.losses.pairs import mean_of_pairs, text_pairs


@LOSSES.register("hard_cosine")
class HardCosine(Loss):
    """(cos(first, second) - score)^2, mean over the pairs that have a score.

    Logits `[b, d]` are embeddings, labels `[b, 2]` a pair's number and its score from 0 to 1, as the task embed gives
    them. It is what `teach` trains a teacher of embeddings with. Texts without a pair and pairs without a score are
    left out, so that unlabelled text can stand in the batch; a batch without any score gives 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    needs_teacher: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True
    skips_unlabelled: ClassVar[bool] = True
    least_rows: ClassVar[int] = 2
    of_pairs: ClassVar[Literal["", "scores", "positives"]] = "scores"
    paper: ClassVar[str] = "Reimers and Gurevych 2019, arXiv 1908.10084"

    def __call__(self, student: Trace, teacher: Trace | None = None) -> Tensor:
        """Scalar. Raises InputError without labels, and for labels that are no pairs."""
        pairs = text_pairs(student)
        return mean_of_pairs(cosine_errors(pairs), pairs)
