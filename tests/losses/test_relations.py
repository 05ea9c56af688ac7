"""The losses on attention distributions and relations against numbers worked out by hand from the papers' formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.losses.attention_kl import AttentionKL
from compress.losses.attention_mse import AttentionMSE
from compress.losses.base import Loss
from compress.losses.qkv_relation_kl import QKVRelationKL
from compress.losses.relations import recut
from compress.losses.value_relation_kl import ValueRelationKL
from tests.losses.traces import heads, values

LN3 = math.log(3)
APART = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)  # KL of (3/4, 1/4) from (1/2, 1/2)


def column(*numbers: float, width: int = 1) -> Tensor:
    """One text, one head: `[1, 1, s, width]`, the numbers in the first place of each token's vector."""
    out = torch.zeros(1, 1, len(numbers), width)
    out[..., 0] = torch.tensor(numbers)
    return out


def test_attention_kl_by_hand() -> None:
    """Prevents a reversed KL and a wrong mean: the first of two queries looks (3/4, 1/4) against (1/2, 1/2)."""
    teacher = heads(column(1, 0), column(LN3, 0), [[1, 1]])
    student = heads(column(0, 0), column(0, 0), [[1, 1]])
    assert AttentionKL()(student, teacher).item() == pytest.approx(APART / 2, abs=1e-6)
    turned = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert AttentionKL()(teacher, student).item() == pytest.approx(turned / 2, abs=1e-6)


def test_attention_kl_scales_scores_by_the_width_of_a_head() -> None:
    """Prevents unscaled scores where head widths differ: 2 ln 3 / sqrt(4) is ln 3."""
    student = heads(column(1, 0), column(LN3, 0), [[1, 1]])
    teacher = heads(column(2, 0, width=4), column(LN3, 0, width=4), [[1, 1]])
    assert AttentionKL()(student, teacher).item() == pytest.approx(0, abs=1e-6)


def test_masked_keys_have_no_share_and_masked_queries_do_not_count() -> None:
    """Prevents probability on padding: a third, masked token with the largest score changes nothing."""
    teacher = heads(column(1, 0, 9), column(LN3, 0, 50), [[1, 1, 0]])
    student = heads(column(0, 0, -9), column(0, 0, 70), [[1, 1, 0]])
    assert AttentionKL()(student, teacher).item() == pytest.approx(APART / 2, abs=1e-6)


def test_attention_kl_compares_the_last_layers_unless_told_otherwise() -> None:
    """Prevents a default that compares other layers, and explicit pairs that are not read."""
    near, far = (column(1, 0), column(LN3, 0)), (column(0, 0), column(0, 0))
    mask = torch.ones(1, 2, dtype=torch.bool)
    student = Trace(mask=mask, queries={1: near[0]}, keys={1: near[1]}, depth=1)
    queries, keys = {1: far[0], 2: near[0]}, {1: far[1], 2: near[1]}
    teacher = Trace(mask=mask, queries=queries, keys=keys, depth=2)
    assert AttentionKL()(student, teacher).item() == pytest.approx(0, abs=1e-6)
    turned = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    both = AttentionKL(map=[[1, 1], [1, 2]])(student, teacher)
    assert both.item() == pytest.approx(turned / 2 / 2, abs=1e-6)  # the mean over layer pairs


def test_unequal_heads_compare_mean_distributions_or_are_refused() -> None:
    """Prevents a broadcast of one head over several: (3/4, 1/4) and (1/4, 3/4) are (1/2, 1/2) in the mean."""
    two = heads(
        torch.cat([column(1, 1), column(1, 1)], 1), torch.cat([column(LN3, 0), column(0, LN3)], 1), [[1, 1]]
    )  # fmt: skip
    one = heads(column(0, 0), column(0, 0), [[1, 1]])
    assert AttentionKL()(two, one).item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(InputError, match="2 heads and the teacher 1"):
        AttentionKL(heads="each")(two, one)
    level = heads(torch.zeros(1, 2, 2, 1), torch.zeros(1, 2, 2, 1), [[1, 1]])
    assert AttentionKL()(level, two).item() == pytest.approx(APART, abs=1e-6)  # equal numbers: head by head
    assert AttentionKL(heads="mean")(level, two).item() == pytest.approx(0, abs=1e-6)


def test_value_relation_kl_by_hand() -> None:
    """Prevents a missing scale: v v^T / sqrt(e) of the first token is ln 3 in heads of width 1 and of width 4."""
    narrow = values(column(math.sqrt(LN3), 0), [[1, 1]])
    wide = values(column(math.sqrt(2 * LN3), 0, width=4), [[1, 1]])
    nothing = values(column(0, 0), [[1, 1]])
    assert ValueRelationKL()(nothing, narrow).item() == pytest.approx(APART / 2, abs=1e-6)
    assert ValueRelationKL()(nothing, wide).item() == pytest.approx(APART / 2, abs=1e-6)
    assert ValueRelationKL()(narrow, wide).item() == pytest.approx(0, abs=1e-6)


def qkv(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Trace:
    return Trace(mask=mask, queries={1: queries}, keys={1: keys}, values={1: values}, depth=1)


def test_qkv_relation_kl_by_hand() -> None:
    """Prevents a wrong scale, weight or mean over relation heads: only the queries differ, in one of two places."""
    mask, nothing = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 1, 2, 2)
    student = qkv(nothing, nothing, nothing, mask)

    def queries(size: float) -> Trace:
        return qkv(column(math.sqrt(size), 0, width=2), nothing, nothing, mask)

    one = QKVRelationKL(relation_heads=1)(student, queries(LN3 * math.sqrt(2)))
    assert one.item() == pytest.approx(APART / 2, abs=1e-6)
    two = QKVRelationKL(relation_heads=2)(student, queries(LN3))  # the other head is equal
    assert two.item() == pytest.approx(APART / 2 / 2, abs=1e-6)
    heavy = QKVRelationKL(relation_heads=2, query_weight=3.0)(student, queries(LN3))
    assert heavy.item() == pytest.approx(3 * APART / 2 / 2, abs=1e-6)
    assert QKVRelationKL(query_weight=0.0)(student, queries(LN3)).item() == 0


def test_qkv_relation_kl_is_free_of_head_counts() -> None:
    """Prevents heads that leak into the relation: 12 numbers a token in 2 or in 3 heads are the same to it."""
    draw = torch.Generator().manual_seed(0)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    tokens = torch.randn(3, 2, 3, 12, generator=draw)

    def cut(number: int) -> Trace:
        q, k, v = (part.view(2, 3, number, 12 // number).transpose(1, 2) for part in tokens)
        return qkv(q, k, v, mask)

    for relation_heads in (1, 4, 6):
        loss = QKVRelationKL(relation_heads=relation_heads)
        assert loss(cut(2), cut(3)).item() == pytest.approx(0, abs=1e-6)


def test_qkv_relation_kl_against_the_formula_in_loops() -> None:
    """Prevents a mistake of shapes: student of 2 heads and width 8, teacher of 3 and 12, against the paper's sums."""
    draw = torch.Generator().manual_seed(1)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    mine, theirs = torch.randn(3, 2, 2, 3, 4, generator=draw), torch.randn(3, 2, 3, 3, 4, generator=draw)
    total = 0.0
    for part in range(3):
        for row in range(2):
            real = mask[row].nonzero()[:, 0]
            for head in range(4):

                def relation(held: Tensor, row: int = row, head: int = head, real: Tensor = real) -> Tensor:
                    joined = held[row].transpose(0, 1).flatten(1)[real]
                    piece = joined.chunk(4, dim=1)[head]
                    return (piece @ piece.T / math.sqrt(piece.shape[1])).softmax(-1)

                p, q = relation(theirs[part]), relation(mine[part])
                total += (p * (p / q).log()).sum().item() / (4 * int(mask.sum()))
    found = QKVRelationKL(relation_heads=4)(qkv(*mine, mask), qkv(*theirs, mask))
    assert found.item() == pytest.approx(total, rel=1e-5)
    assert QKVRelationKL()(qkv(*mine, mask), qkv(*theirs, mask)).item() == pytest.approx(total, rel=1e-5)  # gcd 4


def test_recut_keeps_every_token_in_its_place() -> None:
    """Prevents a view that mixes tokens and heads: token 1 of 2 heads of 2 is (2, 3, 6, 7) and is cut in that order."""
    held = torch.arange(8.0).view(1, 2, 2, 2)
    assert recut(held, 1)[0, 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert recut(held, 4)[0, :, 1].tolist() == [[2], [3], [6], [7]]


MADE: list[tuple[Loss, Callable[[int], Trace]]] = [
    (AttentionKL(), lambda tokens: heads(torch.ones(1, 1, tokens, 1), torch.ones(1, 1, tokens, 1), [[0] * tokens])),
    (ValueRelationKL(), lambda tokens: values(torch.ones(1, 1, tokens, 1), [[0] * tokens])),
]


@pytest.mark.parametrize(("loss", "make"), MADE)
def test_no_token_and_other_tokens_are_refused(loss: Loss, make: Callable[[int], Trace]) -> None:
    """Prevents 0 / 0, and a comparison of positions that hold other tokens."""
    with pytest.raises(InputError, match="masked"):
        loss(make(2), make(2))
    real = Trace(mask=torch.ones(1, 2).bool(), depth=1)
    with pytest.raises(InputError, match="2 tokens and the teacher 3"):
        loss(real, make(3))


def test_degenerate_options_are_refused_with_the_reason() -> None:
    """Prevents silent nonsense: attention of the embeddings, heads that do not divide, a relation loss of nothing."""
    mask, part = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 1, 2, 6)
    trace = qkv(part, part, part, mask)
    with pytest.raises(InputError, match="no attention"):
        ValueRelationKL(map=[[0, 0]])(trace, trace)
    with pytest.raises(InputError, match="these do: 1, 2, 3, 6"):
        QKVRelationKL(relation_heads=4)(trace, trace)
    with pytest.raises(ValueError, match="all 0"):
        QKVRelationKL(query_weight=0.0, key_weight=0.0, value_weight=0.0)
    with pytest.raises(InputError, match="no value of layer 1"):
        ValueRelationKL()(heads(part, part, [[1, 1]]), trace)


def test_an_empty_text_among_others_does_not_count() -> None:
    """Prevents NaN from a row that is all padding: a softmax over no key."""
    q = torch.randn(2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    full, both = [[1, 1]], [[1, 1], [0, 0]]
    student, teacher = heads(q, q, both), heads(2 * q, q, both)
    expected = AttentionKL()(heads(q[:1], q[:1], full), heads(2 * q[:1], q[:1], full)).item()
    assert AttentionKL()(student, teacher).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [AttentionKL(), AttentionMSE()])
def test_scores_that_queries_and_keys_do_not_show_are_refused(loss: Loss) -> None:
    """Prevents a student from imitating half of a DeBERTa's attention: its relative positions are not in q k^T."""
    one = heads(torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4), [[1, 1, 1]])
    partial = replace(one, scores_lack="relative positions")
    with pytest.raises(InputError, match="attention cannot be compared: this model's scores also have relative"):
        loss(one, partial)
