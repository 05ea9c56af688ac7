"""Relations among the tokens of a text (word relations of Park et al. 2021, "CKD", arXiv 2109.08359)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.layers import FinalMap, directions, final_pairs, mean_over, refuse_nothing, same_tokens


@LOSSES.register("token_relations")
class TokenRelations(Loss):
    """Tokens that are alike to the teacher shall be alike to the student, within each text.

    G_ij of a text is cos(h_i, h_j), or h_i h_j / d for `product`; (G_student - G_teacher)^2 is averaged over all pairs
    of the text's real tokens, then over texts, then over layer pairs. G is `[s, s]` whatever the width, so nothing is
    projected and the student finds its own axes. CKD compares such relations, and those of three words, with a
    student of any shape; `product` also compares the lengths of the states.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"hidden"})
    paper: ClassVar[str] = "Park et al. 2021, arXiv 2109.08359"

    map: FinalMap = "final"
    similarity: Literal["cosine", "product"] = Field("cosine", description="cosine, or the product over the width")

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar over hidden states `[b, s, d]`. Raises InputError for an empty mask, or texts of one token each."""
        teacher = required(teacher, "teacher")
        refuse_nothing(student.mask)
        same_tokens(student.mask, teacher.mask)
        if self.similarity == "cosine" and int(student.mask.sum(1).max()) < 2:
            raise InputError("token_relations: every text has one token, whose cosine with itself is always 1")
        with torch.autocast(student.mask.device.type, enabled=False):
            return mean_over(
                [
                    _distance(self._gram(student, one), self._gram(teacher, two), student.mask)
                    for one, two in self.pairs(student.depth, teacher.depth)
                ]
            )

    def pairs(self, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
        """(student layer, teacher layer) pairs that the term compares."""
        return final_pairs(self.map, student_depth, teacher_depth)

    def _gram(self, trace: Trace, layer: int) -> Tensor:
        hidden = trace.hidden_at(layer).float()
        if self.similarity == "cosine":
            hidden = directions(hidden)
            return hidden @ hidden.transpose(1, 2)
        return hidden @ hidden.transpose(1, 2) / hidden.shape[-1]


def _distance(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    real = mask[:, :, None] & mask[:, None, :]
    apart = (student - teacher).square().where(real, 0.0).sum((1, 2))
    return (apart / real.sum((1, 2)).clamp(min=1)).sum() / mask.any(1).sum()
