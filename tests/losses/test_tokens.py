"""The losses on a text's tokens together against numbers worked out by hand from the papers' formulas."""

from __future__ import annotations

import math

import pytest
import torch

from compress.core.errors import InputError
from compress.losses.fsp_mse import FSPMSE
from compress.losses.mmd import MMD
from compress.losses.token_relations import TokenRelations
from tests.losses.traces import states

ROOT = math.sqrt(0.5)


def test_token_relations_by_hand() -> None:
    """Prevents a mean over padded pairs: right angles against none are 1 apart in 2 of 4 pairs; token 3 is padding."""
    student = states({1: [[[2.0, 0.0], [0.0, 1.0], [7.0, 7.0]]]}, [[1, 1, 0]], depth=1)
    teacher = states({2: [[[1.0], [3.0], [-9.0]]]}, [[1, 1, 0]], depth=2)
    assert TokenRelations()(student, teacher).item() == pytest.approx(0.5, abs=1e-6)


def test_token_relations_weigh_texts_alike() -> None:
    """Prevents long texts from drowning short ones: 1/2 for the text of two tokens and 0 for that of three."""
    student = states({1: [[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [[1.0, 0.0]] * 3]}, [[1, 1, 0], [1, 1, 1]], depth=1)
    teacher = states({1: [[[1.0, 0.0]] * 3, [[1.0, 0.0]] * 3]}, [[1, 1, 0], [1, 1, 1]], depth=1)
    assert TokenRelations()(student, teacher).item() == pytest.approx(0.25, abs=1e-6)


def test_token_products_by_hand() -> None:
    """Prevents products that grow with the width: 2 * 2 / 2 in one of four pairs, squared, is 4 / 4."""
    student = states({1: [[[2.0, 0.0], [0.0, 0.0]]]}, [[1, 1]], depth=1)
    teacher = states({1: [[[0.0], [0.0]]]}, [[1, 1]], depth=1)
    assert TokenRelations(similarity="product")(student, teacher).item() == pytest.approx(1.0)


def test_mmd_by_hand() -> None:
    """Prevents a kernel without its square or its scale: patterns (1, 0) and (0, 1) against (1, 1) / sqrt 2."""
    student = states({1: [[[3.0, 0.0], [0.0, 4.0], [9.0, 9.0]]]}, [[1, 1, 0]], depth=1)
    teacher = states({1: [[[5.0], [5.0], [1.0]]]}, [[1, 1, 0]], depth=1)
    linear = 2 * (0.5 - ROOT) ** 2
    assert MMD(kernel="linear")(student, teacher).item() == pytest.approx(linear, abs=1e-6)
    assert MMD(kernel="polynomial")(student, teacher).item() == pytest.approx(0.5 + 1 - 2 * 0.5, abs=1e-6)
    across = 2 - 2 * ROOT  # the squared distance, and so the kernel's width
    gaussian = (1 + math.exp(-2 / (2 * across))) / 2 + 1 - 2 * math.exp(-0.5)
    assert MMD(kernel="gaussian")(student, teacher).item() == pytest.approx(gaussian, abs=1e-6)


def test_mmd_against_the_kernel_in_loops() -> None:
    """Prevents the short form of the polynomial kernel from being another one: the paper's three means of (x y)^2."""
    draw = torch.Generator().manual_seed(0)
    one, two = torch.randn(4, 3, generator=draw), torch.randn(4, 5, generator=draw)
    x, y = (held / held.norm(dim=0) for held in (one, two))
    means = [(a.T @ b).square().mean().item() for a, b in ((x, x), (y, y), (x, y))]
    student = states({1: [one.tolist()]}, [[1] * 4], depth=1)
    teacher = states({1: [two.tolist()]}, [[1] * 4], depth=1)
    assert MMD()(student, teacher).item() == pytest.approx(means[0] + means[1] - 2 * means[2], abs=1e-6)


@pytest.mark.parametrize("kernel", ["linear", "polynomial", "gaussian"])
def test_mmd_is_free_of_the_order_of_neurons(kernel: str) -> None:
    """Prevents neurons from having partners: a shuffled teacher is no distance away."""
    hidden = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    shuffled = hidden[..., torch.tensor([3, 0, 5, 1, 4, 2])]
    mask = [[1] * 4, [1, 1, 1, 0]]
    loss = MMD.model_validate({"kernel": kernel})
    found = loss(states({1: hidden.tolist()}, mask, depth=1), states({1: shuffled.tolist()}, mask, depth=1))
    assert found.item() == pytest.approx(0, abs=1e-6)


def test_fsp_mse_by_hand() -> None:
    """Prevents a sum over tokens: (1, 0) that turns into (0, 2) in both tokens has one product of 2, squared over 4."""
    student = states({0: [[[1.0, 0.0]] * 2], 1: [[[0.0, 2.0]] * 2]}, [[1, 1]], depth=1)
    nothing = [[[0.0, 0.0]] * 2]
    teacher = states({0: nothing, 1: [[[9.0, 9.0]] * 2], 2: nothing}, [[1, 1]], depth=2)
    assert FSPMSE()(student, teacher).item() == pytest.approx(1.0)
    assert FSPMSE().pairs(2, 4) == [(0, 0), (1, 2), (2, 4)]


def test_fsp_mse_against_the_formula_in_loops() -> None:
    """Prevents the short form of the distance from being another one: the paper's matrices, text by text."""
    draw = torch.Generator().manual_seed(0)
    mask = [[1, 1, 1, 1], [1, 1, 0, 0]]
    mine, theirs = torch.randn(2, 2, 4, 3, generator=draw), torch.randn(2, 2, 4, 3, generator=draw)
    expected = 0.0
    for row, real in enumerate((4, 2)):
        flows = [held[0, row, :real].T @ held[1, row, :real] / real for held in (mine, theirs)]
        expected += (flows[0] - flows[1]).square().mean().item() / 2
    student = states({0: mine[0].tolist(), 1: mine[1].tolist()}, mask, depth=1)
    teacher = states({0: theirs[0].tolist(), 1: theirs[1].tolist()}, mask, depth=1)
    assert FSPMSE()(student, teacher).item() == pytest.approx(expected, rel=1e-5)
    assert FSPMSE()(student, student).item() == pytest.approx(0, abs=1e-6)


def test_degenerate_input_is_refused_with_the_reason() -> None:
    """Prevents silent nonsense: tokens without a partner, other tokens, a flow from the embeddings to themselves."""
    short = states({0: [[[1.0, 2.0]]], 1: [[[1.0, 2.0]]]}, [[1]], depth=1)
    long = states({0: [[[1.0]] * 2], 1: [[[1.0]] * 2]}, [[1, 1]], depth=1)
    with pytest.raises(InputError, match="always 1"):
        TokenRelations()(short, short)
    for loss in (TokenRelations(), MMD()):
        with pytest.raises(InputError, match="1 tokens and the teacher 2"):
            loss(short, long)
    with pytest.raises(InputError, match="embeddings alone"):
        FSPMSE(map=[[0, 0]])(short, short)
    with pytest.raises(InputError, match="2 wide and the teacher 1"):
        FSPMSE()(short, states({0: [[[1.0]]], 1: [[[1.0]]]}, [[1]], depth=1))
