"""Multi-head self-attention relations of MiniLMv2 (Wang et al. 2021, arXiv 2012.15828)."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.losses.base import LOSSES, Loss, required
from compress.losses.layers import FinalMap, final_pairs, inner_pairs, mean_over, refuse_nothing, same_tokens
from compress.losses.relations import recut, relation_kl

MOST_HEADS = 48  # the paper's number for teachers of base size


@LOSSES.register("qkv_relation_kl")
class QKVRelationKL(Loss):
    """KL of query-query, key-key and value-value relations, over heads that neither model needs to have.

    The queries of all heads are joined and cut anew into r relation heads a of width d / r. Of each,
    KL(softmax(a a^T / sqrt(d / r)) of the teacher || the same of the student) over real tokens is taken, mean over
    real tokens and relation heads; the same for keys and values; the three are added with their weights, and the mean
    is taken over layer pairs. So the student may have any depth, any width and any number of heads that r divides.
    This is the whole general stage of MiniLMv2. It takes the last layer of the student, and the last layer of a
    teacher of base size; for a large teacher an upper middle one is better (layer 21 of 24 for BERT-large:
    `map: [[6, 21]]`).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"attention", "values"})
    paper: ClassVar[str] = "Wang et al. 2021, arXiv 2012.15828"

    map: FinalMap = "final"
    relation_heads: int | None = Field(
        None, ge=1, description="r; must divide both widths. none: the largest such number up to the paper's 48"
    )
    query_weight: float = Field(1.0, ge=0, description="weight of the query-query relation; 0 leaves it out")
    key_weight: float = Field(1.0, ge=0, description="weight of the key-key relation; 0 leaves it out")
    value_weight: float = Field(1.0, ge=0, description="weight of the value-value relation; 0 leaves it out")

    @model_validator(mode="after")
    def _something_is_compared(self) -> Self:
        if not (self.query_weight or self.key_weight or self.value_weight):
            raise ValueError("query_weight, key_weight and value_weight are all 0; give at least one relation a weight")
        return self

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar over queries, keys and values `[b, h, s, e]`. Raises InputError for r that divides not both widths."""
        teacher = required(teacher, "teacher")
        refuse_nothing(student.mask)
        same_tokens(student.mask, teacher.mask)
        pairs = self.pairs(student.depth, teacher.depth)
        return mean_over([self._layer(student, teacher, one, two) for one, two in pairs])

    def pairs(self, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
        """(student layer, teacher layer) pairs that the term compares. Raises InputError for layer 0."""
        return inner_pairs(final_pairs(self.map, student_depth, teacher_depth), self.registered_name)

    def _layer(self, student: Trace, teacher: Trace, one: int, two: int) -> Tensor:
        parts: tuple[tuple[Literal["queries", "keys", "values"], float], ...] = (
            ("queries", self.query_weight), ("keys", self.key_weight), ("values", self.value_weight),
        )  # fmt: skip
        terms = []
        for part, weight in parts:
            if weight:
                mine, theirs = student.heads_at(part, one), teacher.heads_at(part, two)
                heads = self._heads(mine.shape[1] * mine.shape[3], theirs.shape[1] * theirs.shape[3])
                mine, theirs = recut(mine, heads), recut(theirs, heads)
                both = relation_kl((mine, mine), (theirs, theirs), student.mask, "each", self.registered_name)
                terms.append(weight * both)
        return torch.stack(terms).sum()

    def _heads(self, mine: int, theirs: int) -> int:
        both = math.gcd(mine, theirs)
        if self.relation_heads is None:
            return max(number for number in range(1, MOST_HEADS + 1) if both % number == 0)
        if both % self.relation_heads:
            fits = ", ".join(str(number) for number in range(1, 4 * MOST_HEADS) if both % number == 0)
            raise InputError(
                f"qkv_relation_kl: {self.relation_heads} relation heads do not divide the student's width {mine} and "
                f"the teacher's {theirs}; these do: {fits}"
            )
        return self.relation_heads
