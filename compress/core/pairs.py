"""Supervised terms on the embeddings of pairs, for the task that teaches them and the losses that distil with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from compress.core.errors import InputError

ALONE = -1  # in place of a pair's number: a text without a second one
ELSEWHERE = -1e30  # finite, so that differences of it are numbers; exp of it is 0


@dataclass(frozen=True)
class Pairs:
    """The pairs of a batch. first, second: directions `[n, d]` float32, of length 1. scores: `[n]`, NaN for none.

    numbers: `[n]`, equal for pairs that share a text, which are no negatives of each other.
    """

    first: Tensor
    second: Tensor
    scores: Tensor
    numbers: Tensor


def pairs_of(vectors: Tensor, labels: Tensor) -> Pairs:
    """The pairs among vectors `[b, d]`; labels `[b, 2]`: a pair's number (-1: no pair) and its score (NaN: none).

    A pair's two texts stand behind each other. Raises InputError where one lacks the other.
    """
    first, second, told = halves(vectors.float(), labels)
    return Pairs(functional.normalize(first, dim=-1), functional.normalize(second, dim=-1), told[:, 1], told[:, 0])


def halves(vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First and second vectors `[n, d]` of the pairs as they are, and what is told of each pair `[n, 2]`."""
    if labels.dim() != 2 or labels.shape[-1] != 2:
        raise InputError(
            f"pairs of embeddings are told by a number and a score for each text `[b, 2]`, and the labels have the "
            f"shape {list(labels.shape)}; use the task embed with `text_pair`"
        )
    labels = labels.to(vectors.device)
    paired = labels[:, 0] != ALONE
    found, told = vectors[paired], labels[paired]
    if len(found) % 2 or bool((told[::2, 0] != told[1::2, 0]).any()):
        raise InputError("a pair's two texts must stand behind each other in a batch, and one stands without the other")
    both = found.reshape(len(found) // 2, 2, found.shape[-1])
    return both[:, 0], both[:, 1], told[::2]


def cosine_errors(pairs: Pairs) -> Tensor:
    """(cos(first, second) - score)^2 of the pairs that have a score, `[m]` (Reimers and Gurevych 2019)."""
    known = ~pairs.scores.isnan()
    return ((pairs.first * pairs.second).sum(-1)[known] - pairs.scores[known]).square()


def in_batch(pairs: Pairs, temperature: float, negatives: int | None = None) -> Tensor:
    """InfoNCE of the pairs that have no score, `[m]`: each first text against the second texts of other pairs."""
    chosen = pairs.scores.isnan()
    first, second, numbers = pairs.first[chosen], pairs.second[chosen], pairs.numbers[chosen]
    with torch.autocast(first.device.type, enabled=False):
        return info_nce(first @ second.T / temperature, numbers[:, None] != numbers[None, :], negatives)


def info_nce(logits: Tensor, others: Tensor, negatives: int | None = None) -> Tensor:
    """-log(e_ii / (e_ii + sum_j e_ij)) of each row, j over `others`; logits `[n, n]` = log e, others `[n, n]` bool.

    negatives: K, how many negatives the sum stands for: it is K times the mean over the others of the row. Then a batch
    is a sample of negatives, and its size no longer decides the value: whoever knows nothing has log(1 + K) in every
    batch. None: the sum itself (van den Oord et al. 2018, arXiv 1807.03748). A row without negatives gives 0.
    """
    own = logits.diagonal()
    against = logits.masked_fill(~others, ELSEWHERE).logsumexp(-1)
    if negatives is not None:
        against = against + math.log(negatives) - others.sum(-1).clamp(min=1).log()
    return functional.softplus(torch.where(others.any(-1), against - own, ELSEWHERE))
