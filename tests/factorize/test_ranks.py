"""Ranks by ratio, energy, number and budget."""

from __future__ import annotations

import itertools

import pytest
import torch
from pydantic import ValidationError

from compress.core.errors import InputError
from compress.factorize.norms import PLAIN, Cuttable
from compress.factorize.ranks import Rank, ranks_of, ranks_under


def matrix(name: str, outputs: int, inputs: int, sizes: list[float]) -> Cuttable:
    """A matrix with these singular values, the rest 0."""
    count = min(outputs, inputs)
    values = torch.tensor(sizes + [0.0] * (count - len(sizes)), dtype=torch.float64)
    return Cuttable(name, torch.eye(outputs, count), values, torch.eye(count, inputs), PLAIN)


def test_each_rule_by_hand() -> None:
    """Prevents a ratio of ranks instead of parameters, and an energy of singular values instead of their squares."""
    one = matrix("w", 8, 24, [4, 2, 1, 1])  # squares 16, 4, 1, 1; a rank costs 32 of 192
    assert Rank(ratio=0.5).of(one) == 3
    assert Rank(ratio=0.49).of(one) == 2
    assert Rank(energy=0.7).of(one) == 1  # 16/22 = 0.727
    assert Rank(energy=0.9).of(one) == 2  # 20/22 = 0.909
    assert Rank(energy=0.95).of(one) == 3
    assert Rank(rank=5).of(one) == 5
    assert one.most == 5 and one.cost(5) == 160 and one.cost(6) == 192


def test_a_rank_that_saves_nothing_leaves_the_matrix() -> None:
    """Prevents two factors that are larger than the matrix: 8 x 24 has as many parameters as a rank of 6."""
    both = [matrix("wide", 8, 24, [4, 2]), matrix("square", 8, 8, [4, 2])]
    assert ranks_of(both, Rank(rank=4)) == {"wide": 4, "square": None}
    assert ranks_of(both, Rank(rank=6)) == {"wide": None, "square": None}


def test_a_ratio_below_one_rank_is_refused_with_the_least() -> None:
    """Prevents a rank of 0, which is a matrix of zeros."""
    with pytest.raises(InputError, match=r"less than a rank of 1; use at least 0\.167"):
        Rank(ratio=0.1).of(matrix("w", 8, 24, [1]))


def test_one_rule_only() -> None:
    """Prevents options that contradict each other, and ratios that are none."""
    for given in ({}, {"ratio": 0.5, "rank": 3}, {"ratio": 0.0}, {"ratio": 1.5}, {"energy": 1.0}, {"rank": 0}):
        with pytest.raises(ValidationError):
            Rank.model_validate(given)


def test_a_budget_keeps_the_most_energy_that_it_can() -> None:
    """Prevents a greedy choice that is not the best: against every choice of ranks that costs no more."""
    draw = torch.Generator().manual_seed(3)
    sizes = [torch.rand(6, generator=draw).sort(descending=True).values.tolist() for _ in range(3)]
    matrices = [matrix(f"w{index}", 12, 12, values) for index, values in enumerate(sizes)]
    for budget in (0.3, 0.4, 0.5):
        found = ranks_under(matrices, budget, alike=False)
        limit = int(budget * 3 * 144)
        ranks = [found[one.name] or 12 for one in matrices]
        assert sum(one.cost(rank) for one, rank in zip(matrices, ranks, strict=True)) <= limit
        kept = sum(float(one.energies[:rank].sum()) for one, rank in zip(matrices, ranks, strict=True))
        best = max(
            sum(float(one.energies[:rank].sum()) for one, rank in zip(matrices, choice, strict=True))
            for choice in itertools.product(range(1, 7), repeat=3)
            if sum(one.cost(rank) for one, rank in zip(matrices, choice, strict=True)) <= limit
        )
        assert kept == pytest.approx(best)


def test_a_budget_goes_where_a_parameter_keeps_most() -> None:
    """Prevents ranks by energy alone: the cheaper matrix wins at equal energy; shares count when units differ."""
    cheap, dear = matrix("cheap", 8, 8, [3, 2, 1]), matrix("dear", 8, 40, [3, 2, 1])
    assert ranks_under([dear, cheap], 96 / 384, alike=False) == {"dear": 1, "cheap": 3}
    loud, still = matrix("loud", 8, 8, [100, 1, 1]), matrix("still", 8, 8, [0.3, 0.2, 0.1])
    assert ranks_under([loud, still], 48 / 128, alike=False) == {"loud": 2, "still": 1}
    assert ranks_under([loud, still], 48 / 128, alike=True) == {"loud": 1, "still": 2}


def test_a_budget_may_leave_a_matrix_whole() -> None:
    """Prevents a rank that costs as much as the matrix: after the last rank that saves comes the matrix itself."""
    flat, steep = matrix("flat", 8, 8, [1.0] * 8), matrix("steep", 8, 8, [1.0])
    assert ranks_under([flat, steep], 80 / 128, alike=False) == {"flat": None, "steep": 1}
    with pytest.raises(InputError, match=r"less than a rank of 1 each; use at least 0\.250"):
        ranks_under([flat, steep], 0.2, alike=False)
