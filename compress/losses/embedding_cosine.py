"""Direction of sentence embeddings (Zhang et al. 2024, "Jasper and Stella", arXiv 2412.19048)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.layers import directions, refuse_nothing, same_width
from compress.losses.texts import text_vectors


@LOSSES.register("embedding_cosine")
class EmbeddingCosine(Loss):
    """1 - cos(student W, teacher) of the texts' embeddings, mean over texts.

    For embeddings that are compared by cosine their length means nothing, and this term does not spend the student's
    capacity on it. W exists only when the widths differ; it belongs to the objective and is not saved.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"embedding"})
    paper: ClassVar[str] = "Zhang et al. 2024, arXiv 2412.19048"
    projects: ClassVar[bool] = True

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar over embeddings `[b, d]`. Raises InputError for unequal widths (project them first)."""
        teacher = required(teacher, "teacher")
        refuse_nothing(student.mask)
        one, two = text_vectors(student, "embedding"), text_vectors(teacher, "embedding")
        same_width(one, two)
        return (1 - (directions(one) * directions(two)).sum(-1))[student.mask.any(1)].mean()
