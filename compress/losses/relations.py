"""What the losses on attention and on relations of queries, keys and values share: KL of their distributions."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from compress.core.errors import InputError
from compress.core.trace import Trace, scaled_products
from compress.losses.base import Loss, required
from compress.losses.layers import FinalMap, final_pairs, inner_pairs, mean_over, refuse_nothing, same_tokens

Heads = Annotated[
    Literal["auto", "each", "mean"],
    Field(
        description="each: head by head, which needs as many on both sides; mean: the mean distribution over heads; "
        "auto: each where the numbers agree, else mean"
    ),
]
MASKED = -1e30  # finite, so that a text without a real token gives no NaN; exp of it is 0


class RelationLoss(Loss):
    """Base of the losses of MiniLM: KL of the distributions that products `l r^T` of two parts of a layer make."""

    map: FinalMap = "final"
    heads: Heads = "auto"

    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """Scalar over `[b, h, s, e]`. Raises InputError for a layer that was not captured, or an empty mask."""
        teacher = required(teacher, "teacher")
        refuse_nothing(student.mask)
        same_tokens(student.mask, teacher.mask)
        return mean_over(
            [
                relation_kl(self.sides(student, one), self.sides(teacher, two), student.mask, self.heads,
                            self.registered_name)
                for one, two in self.pairs(student.depth, teacher.depth)
            ]
        )  # fmt: skip

    @abstractmethod
    def sides(self, trace: Trace, layer: int) -> tuple[Tensor, Tensor]:
        """l and r of a layer, `[b, h, s, e]` each."""

    def pairs(self, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
        """(student layer, teacher layer) pairs that the term compares. Raises InputError for layer 0."""
        return inner_pairs(final_pairs(self.map, student_depth, teacher_depth), self.registered_name)


def relation_kl(
    student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], mask: Tensor, heads: Heads, name: str
) -> Tensor:
    """KL(softmax(l r^T / sqrt(e)) of the teacher || of the student) over real keys, mean over real queries and heads.

    student, teacher: l and r `[b, h, s, e]`, queries and keys, say. mask: `[b, s]`. Raises InputError for unequal
    heads under `each`.
    """
    mine, theirs = student[0].shape[1], teacher[0].shape[1]
    if heads == "each" and mine != theirs:
        raise InputError(
            f"{name}: the student has {mine} heads and the teacher {theirs}, so none has a partner; use `heads: mean`, "
            f"or qkv_relation_kl, whose heads are cut anew"
        )
    one, two = _scores(student, mask), _scores(teacher, mask)
    if heads == "mean" or mine != theirs:
        one, two = _mean_distribution(one), _mean_distribution(two)
    # sum p (log p - log q) from scores, not from two log-softmaxes: half the large tensors, and 0 for equal scores.
    apart = (two - one).mul_(two.softmax(-1)).sum(-1) - two.logsumexp(-1) + one.logsumexp(-1)
    real = mask[:, None, :]
    return apart.where(real, 0.0).sum() / (real.sum() * one.shape[1])


def recut(heads: Tensor, number: int) -> Tensor:
    """`[b, h, s, e]` joined over heads and cut into `number` relation heads: `[b, number, s, h e / number]`."""
    b, h, s, e = heads.shape
    return heads.transpose(1, 2).reshape(b, s, number, h * e // number).transpose(1, 2)


def _scores(sides: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
    """Scores `[b, h, s, s]` in float32, so low at masked keys that they get no share."""
    return scaled_products(*sides).masked_fill_(~mask[:, None, None, :], MASKED)


def _mean_distribution(scores: Tensor) -> Tensor:
    """The log of the mean over heads of the distributions that scores give: `[b, 1, s, s]`."""
    return scores.log_softmax(-1).logsumexp(1, keepdim=True) - math.log(scores.shape[1])
