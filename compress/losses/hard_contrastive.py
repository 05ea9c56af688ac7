"""InfoNCE on pairs that belong together: what a student of embeddings without a teacher trains on (retrieval)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from compress.core.pairs import in_batch
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss
from compress.losses.pairs import mean_of_pairs, text_pairs


@LOSSES.register("hard_contrastive")
class HardContrastive(Loss):
    """Each first text must pick its own second text among the second texts of the batch, mean over pairs.

    -log(e_ii / (e_ii + sum_j e_ij)) with e_ij = exp(cos(first_i, second_j) / T), j over the other pairs of the batch:
    InfoNCE with in-batch negatives, one side, as `teach` trains a teacher of embeddings. Logits `[b, d]` are
    embeddings, labels `[b, 2]` a pair's number and NaN, as the task embed gives them. Pairs with the same first or
    second text are no negatives of each other. The sum is `negatives` times the mean over the batch's negatives, so
    that the value does not grow with the batch: a student that knows nothing has log(1 + negatives). Texts without a
    pair and pairs with a score are left out; a batch without a pair gives 0.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    needs_teacher: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True
    skips_unlabelled: ClassVar[bool] = True
    of_pairs: ClassVar[Literal["", "scores", "positives"]] = "positives"
    least_rows: ClassVar[int] = 2
    paper: ClassVar[str] = "van den Oord et al. 2018, arXiv 1807.03748; Henderson et al. 2017, arXiv 1705.00652"

    temperature: float = Field(0.05, gt=0, le=10, description="T; the smaller, the more the nearest negatives count")
    negatives: int | None = Field(
        31, ge=1, description="how many negatives the batch's stand for, whatever its size; null: as many as it has"
    )

    def __call__(self, student: Trace, teacher: Trace | None = None) -> Tensor:
        """Scalar. Raises InputError without labels, and for labels that are no pairs."""
        pairs = text_pairs(student)
        return mean_of_pairs(in_batch(pairs, self.temperature, self.negatives), pairs)
