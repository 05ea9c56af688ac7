"""The supervised losses on pairs of embeddings, by hand and against what teaches a teacher."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.losses.hard_contrastive import HardContrastive
from compress.losses.hard_cosine import HardCosine
from compress.tasks.base import Task
from tests.tasks.tools import generator, task

NAN = float("nan")
VECTORS = [[2.0, 0.0], [0.0, 3.0], [1.0, 0.0], [4.0, 0.0], [7.0, 7.0]]


def trace(vectors: list[list[float]], labels: list[list[float]] | None) -> Trace:
    """Embeddings that can take a gradient, with pairs."""
    return Trace(
        mask=torch.ones(len(vectors), 1, dtype=torch.bool),
        logits=torch.tensor(vectors).requires_grad_(),
        outputs=torch.ones(len(vectors), dtype=torch.bool),
        labels=None if labels is None else torch.tensor(labels),
    )


def test_hard_cosine_by_hand() -> None:
    """Prevents lengths, single texts and pairs without a score from counting: cosine 0 for 0.5, and 1 for 0."""
    labels = [[0, 0.5], [0, 0.5], [1, 0.0], [1, 0.0], [-1, NAN]]
    assert HardCosine()(trace(VECTORS, labels)).item() == pytest.approx((0.25 + 1) / 2)
    labels[2][1] = labels[3][1] = NAN
    student = trace(VECTORS, labels)
    value = HardCosine()(student)
    value.backward()
    assert value.item() == pytest.approx(0.25)
    assert student.logits is not None and student.logits.grad is not None
    assert student.logits.grad[2:].abs().sum() == 0 and student.logits.grad[:2].abs().sum() > 0


def test_hard_contrastive_by_hand() -> None:
    """Prevents a positive among the negatives and a wrong temperature: one negative of cosine 0, as it is and for 3."""
    vectors = [[1.0, 0.0], [5.0, 0.0], [0.0, 1.0], [0.0, 2.0], [9.0, 1.0]]
    labels = [[0, NAN], [0, NAN], [1, NAN], [1, NAN], [-1, NAN]]
    plain, three = HardContrastive(temperature=0.5, negatives=None), HardContrastive(temperature=0.5, negatives=3)
    assert plain(trace(vectors, labels)).item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert three(trace(vectors, labels)).item() == pytest.approx(math.log(1 + 3 * math.exp(-2)))


def test_pairs_that_share_a_text_are_no_negatives() -> None:
    """Prevents a query from being pushed off another right text of its own: the first two pairs have one number."""
    one, two, three = torch.eye(3).tolist()
    student = trace([one, one, one, two, three, three], [[0, NAN]] * 4 + [[2, NAN]] * 2)
    expected = (math.log(1 + math.exp(-1)) + math.log(2) + math.log(1 + 2 * math.exp(-1))) / 3
    assert HardContrastive(temperature=1.0, negatives=None)(student).item() == pytest.approx(expected, abs=1e-6)
    alone = trace([one, one, one, two], [[0, NAN]] * 4)
    assert HardContrastive()(alone).item() == 0


@pytest.mark.parametrize("size", [2, 8, 64])
def test_who_knows_nothing_pays_the_same_in_every_batch(size: int) -> None:
    """Prevents a term whose weight grows with the batch: log(1 + 31) for 2 pairs as for 64, log(b) without the option.

    The same for a student that is as sure of every pair: it has one margin over each of its negatives.
    """
    labels = [[number, NAN] for number in range(size) for _ in (0, 1)]
    same = trace([[1.0, 0.0]] * (2 * size), labels)
    assert HardContrastive()(same).item() == pytest.approx(math.log(32), rel=1e-5)
    assert HardContrastive(negatives=None)(same).item() == pytest.approx(math.log(size), rel=1e-5)
    sure = [row for row in torch.eye(size).tolist() for _ in (0, 1)]
    expected = math.log(1 + 31 * math.exp(-2))
    assert HardContrastive(temperature=0.5)(trace(sure, labels)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("given", [{"target": "score", "highest": 1.0}, {}], ids=["scored", "positives"])
def test_what_teaches_a_teacher_is_what_distils(given: dict[str, Any]) -> None:
    """Prevents two losses of one meaning that drift apart."""
    one = task("embed", text_pair="other", **given)
    assert isinstance(one, Task)
    vectors = torch.randn(12, 5, generator=generator(2)).tolist()
    labels = [[number, number / 6 if given else NAN] for number in range(6) for _ in (0, 1)]
    student = trace(vectors, labels)
    assert student.logits is not None and student.labels is not None and student.outputs is not None
    loss = HardCosine() if given else HardContrastive(negatives=None)
    assert loss.of_pairs == one.pairs
    taught = one.hard_loss(student.logits, student.labels, student.outputs)
    assert loss(student).item() == pytest.approx(taught.item(), rel=1e-6)


@pytest.mark.parametrize("loss", [HardCosine(), HardContrastive()])
def test_texts_that_are_no_pairs(loss: HardCosine | HardContrastive) -> None:
    """Prevents a NaN from a batch of single texts, and halves of pairs that are paired with their neighbours."""
    student = trace(VECTORS, [[-1, NAN]] * 5)
    value = loss(student)
    value.backward()
    assert value.item() == 0
    with pytest.raises(InputError, match="needs pairs"):
        loss(trace(VECTORS, None))
    with pytest.raises(InputError, match="behind each other"):
        loss(trace(VECTORS[:4], [[0, NAN], [1, NAN], [0, NAN], [1, NAN]]))
    with pytest.raises(InputError, match="use the task embed"):
        loss(trace(VECTORS[:2], [[0, 1, 1], [1, 0, 0]]))
