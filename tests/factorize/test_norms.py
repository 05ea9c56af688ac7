"""The norms that a matrix is cut in, against numbers computed by hand, and factors against the product."""

from __future__ import annotations

import pytest
import torch

from compress.core.errors import InputError
from compress.factorize.norms import PLAIN, Cuttable, Norm, by_inputs, by_rows, taken_apart
from compress.shapes.low_rank import LowRankLinear

DIAGONAL = torch.diag(torch.tensor([3.0, 2.0, 1.0]))


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def product(matrix: Cuttable, rank: int) -> torch.Tensor:
    """The matrix of that rank, `[o, i]` float64."""
    down, up = matrix.factors(rank)
    return up.double() @ down.double()


@pytest.mark.parametrize(
    ("norm", "kept", "lost"),
    [
        (PLAIN, 0, 4.0 + 1.0),
        (by_rows(torch.tensor([1.0, 100.0, 1.0])), 1, 9.0 + 1.0),  # rows count 1, 10, 1: 3, 20, 1
        (by_inputs(torch.diag(torch.tensor([1.0, 1.0, 100.0]))), 2, 9.0 + 4.0),  # columns likewise: 3, 2, 10
    ],
)
def test_the_norm_decides_what_is_kept(norm: Norm, kept: int, lost: float) -> None:
    """Prevents a weight on the wrong side or unsquared: of diag(3, 2, 1) each norm keeps another entry at rank 1."""
    matrix = taken_apart("w", DIAGONAL, norm)
    wanted = torch.zeros(3, 3, dtype=torch.float64)
    wanted[kept, kept] = DIAGONAL[kept, kept]
    assert torch.allclose(product(matrix, 1), wanted, atol=1e-5)
    assert float(matrix.energies[1:].sum()) == pytest.approx(lost)


def test_the_error_is_the_sum_of_what_was_cut() -> None:
    """Prevents factors that are not the nearest of their rank: the squared error is the energy that was cut."""
    weight, inputs = drawn(12, 8), drawn(200, 8, seed=1) @ drawn(8, 8, seed=2)
    importance = drawn(12, seed=3).square()
    for norm, left, right in (
        (PLAIN, torch.eye(12), torch.eye(8)),
        (by_rows(importance), torch.diag(importance.sqrt()), torch.eye(8)),
        (by_inputs(inputs.T @ inputs), torch.eye(12), inputs.T),
    ):
        matrix = taken_apart("w", weight, norm)
        for rank in (1, 3, 8):
            error = left.double() @ (weight - product(matrix, rank)) @ right.double()
            cut = matrix.energies[rank:].sum()
            assert torch.isclose(error.square().sum(), cut, rtol=1e-4, atol=1e-6 * float(matrix.energies.sum()))


def test_seen_inputs_are_answered_better_than_by_the_matrix_alone() -> None:
    """Prevents an `activation` that does no better on the texts that it was made for than `plain` does."""
    weight, inputs = drawn(16, 16), drawn(100, 16, seed=1) * torch.linspace(0.1, 3, 16, dtype=torch.float64)
    answers = inputs @ weight.T
    errors = [
        float((answers - inputs @ product(taken_apart("w", weight, norm), 4).T).square().sum())
        for norm in (PLAIN, by_inputs(inputs.T @ inputs / 100))
    ]
    assert errors[1] < 0.8 * errors[0]


def test_a_low_rank_linear_computes_the_product() -> None:
    """Prevents factors that are swapped or transposed: y = (U S V) x + b."""
    weight = drawn(6, 10)
    matrix = taken_apart("w", weight, PLAIN)
    left, sizes, right = torch.linalg.svd(weight)
    linear = LowRankLinear(10, 6, 3)
    with torch.no_grad():
        linear.weight.copy_(matrix.factors(3)[0])
        linear.up.copy_(matrix.factors(3)[1])
        linear.bias.fill_(0.5)  # type: ignore[union-attr]
    inputs = drawn(4, 10, seed=1)
    wanted = inputs @ (left[:, :3] @ torch.diag(sizes[:3]) @ right[:3]).T + 0.5
    assert torch.allclose(linear(inputs.float()).double(), wanted, atol=1e-5)


def test_directions_that_no_input_has_do_not_break_the_way_back() -> None:
    """Prevents an inverse of 0: texts of few directions, and rows that no gradient reaches, give finite factors."""
    weight, inputs = drawn(5, 6), drawn(2, 6, seed=1)
    seen = taken_apart("w", weight, by_inputs(inputs.T @ inputs))
    assert torch.isfinite(product(seen, 3)).all()
    assert torch.allclose(inputs @ product(seen, 3).T, inputs @ weight.T, atol=1e-4)
    rows = taken_apart("w", weight, by_rows(torch.tensor([0.0, 1, 2, 3, 4])))
    assert torch.isfinite(product(rows, 3)).all()
    assert torch.allclose(product(rows, 5), weight, atol=1e-3)


def test_nothing_seen_is_refused() -> None:
    """Prevents NaN factors from a matrix that no text reaches."""
    with pytest.raises(InputError, match="fisher found no gradient"):
        by_rows(torch.zeros(3))
    with pytest.raises(InputError, match="only zeros before a matrix"):
        by_inputs(torch.zeros(3, 3))
