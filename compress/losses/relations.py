"""What the losses on attention and on relations of queries, keys and values share: KL of their distributions."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from compress.core.errors import InputError
from compress.core.trace import scaled_products

Heads = Annotated[
    Literal["auto", "each", "mean"],
    Field(
        description="each: head by head, which needs as many on both sides; mean: the mean distribution over heads; "
        "auto: each where the numbers agree, else mean"
    ),
]
MASKED = -1e30  # finite, so that a text without a real token gives no NaN; exp of it is 0


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
