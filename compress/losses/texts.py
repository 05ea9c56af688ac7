"""What the losses on whole texts share: one vector for each text, and batches that are large enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.losses.base import Loss, required
from compress.losses.layers import FinalMap, final_pairs, mean_over, refuse_nothing

Of = Literal["embedding", "mean", "first"]
Compare = Callable[[Tensor, Tensor], Tensor]


class TextLoss(Loss):
    """Base of losses between the vectors of a batch's texts. `why` completes "needs n texts in a batch: ..."."""

    why: ClassVar[str] = ""

    of: Of = Field(
        "embedding",
        description="what stands for a text: its embedding as the task pools it, or of a layer's hidden states the "
        "mean over real tokens, or the first token's",
    )
    map: FinalMap = Field(
        "final",
        description="of which layers, for mean and first: final (last to last), uniform, last, first, or explicit "
        "[student, teacher] pairs",
    )

    @model_validator(mode="after")
    def _an_embedding_has_no_layer(self) -> Self:
        if self.of == "embedding" and self.map != "final":
            raise ValueError("an embedding has no layers to map; leave out `map`, or set `of` to mean or first")
        return self

    @property
    def needs(self) -> frozenset[str]:
        """`embedding` or `hidden`, as `of` says."""
        return frozenset({"embedding" if self.of == "embedding" else "hidden"})

    def pairs(self, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
        """(student layer, teacher layer) pairs that the term compares; none for embeddings."""
        return [] if self.of == "embedding" else final_pairs(self.map, student_depth, teacher_depth)

    def over_texts(self, student: Trace, teacher: Trace | None, compare: Compare) -> Tensor:
        """Mean over layer pairs of `compare(student [b, d], teacher [b, d'])` in float32, autocast off.

        Raises InputError for an empty mask, and for fewer texts than the term is defined for.
        """
        teacher = required(teacher, "teacher")
        refuse_nothing(student.mask)
        real = student.mask.any(1)
        if len(real) != len(teacher.mask):
            raise InputError(f"the student saw {len(real)} texts and the teacher {len(teacher.mask)}; give the same")
        if int(real.sum()) < self.least_rows:
            raise InputError(
                f"{self.registered_name} needs {self.least_rows} texts in a batch: {self.why}; raise batch_size"
            )
        pairs = self.pairs(student.depth, teacher.depth) or [(0, 0)]
        with torch.autocast(real.device.type, enabled=False):
            return mean_over(
                [
                    compare(text_vectors(student, self.of, one)[real], text_vectors(teacher, self.of, two)[real])
                    for one, two in pairs
                ]
            )


def text_vectors(trace: Trace, of: Of, layer: int = 0) -> Tensor:
    """One vector `[b, d]` float32 for each text. Raises InputError when it was not captured."""
    if of == "embedding":
        if trace.embedding is None:
            raise InputError("the trace has no embedding; this loss compares one vector for each text")
        return trace.embedding.float()
    hidden = trace.hidden_at(layer).float()
    if of == "first":  # the first real token, whichever side is padded
        return hidden[torch.arange(len(hidden), device=hidden.device), trace.mask.int().argmax(1)]
    real = trace.mask.unsqueeze(-1)
    return hidden.where(real, 0.0).sum(1) / real.sum(1).clamp(min=1)
