"""What the losses on attention and on relations of queries, keys and values share: KL of their distributions."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from compress.core.errors import InputError

Heads = Annotated[
    Literal["auto", "each", "mean"],
    Field(
        description="each: head by head, which needs as many on both sides; mean: the mean distribution over heads; "
        "auto: each where the numbers agree, else mean"
    ),
]
MASKED = -1e30  # finite, so that a text without a real token gives no NaN; exp of it is 0


def relation_kl(student: Tensor, teacher: Tensor, mask: Tensor, heads: Heads, name: str) -> Tensor:
    """KL(softmax(teacher) || softmax(student)) over real keys, mean over real queries and heads; a scalar.

    Scores `[b, h, s, s]`, mask `[b, s]`. Raises InputError for unequal heads under `each`.
    """
    if heads == "each" and student.shape[1] != teacher.shape[1]:
        raise InputError(
            f"{name}: the student has {student.shape[1]} heads and the teacher {teacher.shape[1]}, so none has a "
            f"partner; use `heads: mean`, or qkv_relation_kl, whose heads are cut anew"
        )
    one, two = _log_distribution(student, mask), _log_distribution(teacher, mask)
    if heads == "mean" or one.shape[1] != two.shape[1]:
        one, two = _mean_distribution(one), _mean_distribution(two)
    apart = functional.kl_div(one, two, reduction="none", log_target=True).sum(-1)
    real = mask[:, None, :]
    return apart.where(real, 0.0).sum() / (real.sum() * one.shape[1])


def recut(heads: Tensor, number: int) -> Tensor:
    """`[b, h, s, e]` joined over heads and cut into `number` relation heads: `[b, number, s, h e / number]`."""
    b, h, s, e = heads.shape
    return heads.transpose(1, 2).reshape(b, s, number, h * e // number).transpose(1, 2)


def _log_distribution(scores: Tensor, mask: Tensor) -> Tensor:
    return functional.log_softmax(scores.masked_fill(~mask[:, None, None, :], MASKED), -1)


def _mean_distribution(logs: Tensor) -> Tensor:
    """The log of the mean over heads of distributions given as logs: `[b, 1, s, s]`."""
    return logs.logsumexp(1, keepdim=True) - math.log(logs.shape[1])
