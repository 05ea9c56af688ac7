"""Layer maps whose weights follow the states: every student layer against all teacher layers.

`attention` (Passban et al. 2021, "ALP-KD", arXiv 2012.14022): student layer i is compared with a mix of the teacher's
layers, softmax over j of the similarity of their pooled states, row by row. The paper takes the product of the states;
here it is the cosine over a temperature of 0.1, since products of wide states make the softmax a hard choice.

`transport` (Li et al. 2020, "BERT-EMD", arXiv 2010.06133): the distance of every pair of layers is a cost, and the
cheapest plan that moves equal mass from each student layer onto equal mass at each teacher layer (earth mover's
distance) gives the weights. The plan is Sinkhorn's (Cuturi 2013, arXiv 1306.0895) with an entropy of 0.05 of the mean
cost. The paper also learns the mass of a layer; here all weigh the same, so that no layer can be left out.

In both the weights are a choice of target, not a path for gradients: a student that could move them would rather pick
an easy layer than learn a hard one. Each student layer's weights sum to 1, so that a term keeps the size that it has
under `uniform`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.losses.layers import Compare, same_width

TEMPERATURE = 0.1
ENTROPY = 0.05  # of the mean cost
ROUNDS = 100


def compare_softly(
    layer_map: str,
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    compare: Callable[[Tensor, Tensor], Tensor],
    pool: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """The sum over student layers of their weighted comparison, and the weights `[n, m]`.

    student, teacher: what is compared of every layer, `[b, ...]`. pool: one vector `[b, k]` of it for `attention`.
    """
    if layer_map == "attention":
        # Not in bf16 even under autocast: the mix is the target.
        with torch.no_grad(), torch.autocast(student[0].device.type, enabled=False):
            weights = attention_weights([pool(one) for one in student], [pool(two) for two in teacher])
            targets = torch.einsum("bnm,mb...->nb...", weights, torch.stack(list(teacher)))
        terms = [compare(one, target) for one, target in zip(student, targets, strict=True)]
        return torch.stack(terms).sum(), weights.mean(0)
    costs = torch.stack([torch.stack([compare(one, two) for two in teacher]) for one in student])
    plan = transport_weights(costs.detach())
    return (plan * costs).sum(), plan


def attention_weights(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Softmax `[b, n, m]` over teacher layers of cos(student, teacher) / 0.1, from pooled states `[b, k]`."""
    one = functional.normalize(torch.stack(list(student), 1), dim=-1)
    two = functional.normalize(torch.stack(list(teacher), 1), dim=-1)
    return (one @ two.transpose(1, 2) / TEMPERATURE).softmax(-1)


def transport_weights(costs: Tensor) -> Tensor:
    """Sinkhorn's plan for costs `[n, m]` with equal masses on both sides, times n: every row sums to 1.

    In logarithms, since exp(-cost / entropy) underflows for the dear pairs.
    """
    students, teachers = costs.shape
    kernel = -costs / (ENTROPY * costs.mean()).clamp(min=1e-30)
    left, right = costs.new_zeros(students, 1), costs.new_zeros(1, teachers)
    for _ in range(ROUNDS):
        right = -math.log(teachers) - torch.logsumexp(kernel + left, 0, keepdim=True)
        left = -math.log(students) - torch.logsumexp(kernel + right, 1, keepdim=True)
    return (kernel + left + right).exp() * students


def compare_hidden_softly(layer_map: str, student: Trace, teacher: Trace, compare: Compare) -> Tensor:
    """`compare(student [b, s, d], teacher [b, s, d], mask)` under a soft map, summed over student layers (float32)."""
    return _hidden(layer_map, student, teacher, compare)[0]


def hidden_weights(layer_map: str, student: Trace, teacher: Trace, compare: Compare) -> Tensor:
    """Weights `[n, m]` of the hidden layers under a soft map, mean over the rows."""
    return _hidden(layer_map, student, teacher, compare)[1]


def _hidden(layer_map: str, student: Trace, teacher: Trace, compare: Compare) -> tuple[Tensor, Tensor]:
    if not bool(student.mask.any()):
        raise InputError("every position is masked; a loss over nothing is not defined")
    same_width(student.hidden_at(1), teacher.hidden_at(1))
    mask = student.mask
    count = mask.sum(1, keepdim=True).clamp(min=1)
    return compare_softly(
        layer_map,
        [student.hidden_at(layer).float() for layer in range(1, student.depth + 1)],
        [teacher.hidden_at(layer).float() for layer in range(1, teacher.depth + 1)],
        lambda one, two: compare(one, two, mask),
        lambda state: (state * mask.unsqueeze(-1)).sum(1) / count,
    )
