"""Sentence embeddings of a teacher, exactly (Reimers and Gurevych 2020, arXiv 2004.09813)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.layers import refuse_nothing, same_width
from compress.losses.texts import text_vectors


@LOSSES.register("embedding_mse")
class EmbeddingMSE(Loss):
    """MSE(student W, teacher) of the texts' embeddings, mean over texts and widths.

    The student's vectors become the teacher's own, length included, so vectors of both can stand in one index; the
    paper taught other languages to a sentence encoder with it. W exists only when the widths differ: it belongs to
    the objective and is not saved, so then only the geometry is inherited and both need an index of their own.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"embedding"})
    paper: ClassVar[str] = "Reimers and Gurevych 2020, arXiv 2004.09813"
    projects: ClassVar[bool] = True

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar over embeddings `[b, d]`. Raises InputError for unequal widths (project them first)."""
        teacher = required(teacher, "teacher")
        refuse_nothing(student.mask)
        one, two = text_vectors(student, "embedding"), text_vectors(teacher, "embedding")
        same_width(one, two)
        return (one - two)[student.mask.any(1)].square().mean()
