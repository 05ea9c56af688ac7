"""How a budget is divided between layers, and what is refused."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from compress.core.errors import InputError
from compress.importance.counts import nearest as count_nearest
from compress.prune.allot import Unit, allot, allowed, nearest


def unit(name: str, scores: list[float], kind: str = "neurons", each: float = 1.0, multiple: int = 1) -> Unit:
    """A unit whose parts cost `each`."""
    counts = allowed(len(scores), 1, multiple)
    return Unit(kind, (name,), torch.tensor(scores), counts, tuple(each * count for count in counts))


def lost(units: list[Unit], counts: list[int]) -> float:
    """Importance lost by these counts."""
    return sum(float(one.lost[one.counts.index(count)]) for one, count in zip(units, counts, strict=True))


def spent(units: list[Unit], counts: list[int]) -> float:
    """What these counts cost."""
    return sum(one.costs[one.counts.index(count)] for one, count in zip(units, counts, strict=True))


def test_counts_keep_whole_multiples_and_at_least_one() -> None:
    """A layer of 44 neurons that no kernel likes, and a layer of which nothing is left."""
    assert allowed(24, 1, 8) == (8, 16, 24)
    assert allowed(12, 32, 8) == tuple(range(1, 13))
    assert allowed(4, 4, 8) == (2, 4)
    assert allowed(20, 1, 8) == (8, 16, 20)
    assert allowed(3, 1, 8) == (3,)


def test_lost_is_the_sum_of_what_goes() -> None:
    """A curve that counts what stays, or counts the best parts as gone."""
    one = unit("a", [1.0, 4.0, 2.0, 8.0])
    assert one.lost.tolist() == [7.0, 3.0, 1.0, 0.0]
    assert one.mask(2).tolist() == [0.0, 1.0, 0.0, 1.0]
    assert unit("a", [1.0, 1.0, 1.0]).mask(2).tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("budget", [4.0, 5.0, 7.0, 9.0, 11.0])
def test_the_global_choice_is_the_best_of_all_choices(budget: float) -> None:
    """A search that stops at a worse division than the one that trying everything finds (convex losses)."""
    generator = torch.Generator().manual_seed(3)
    units = [
        unit("h", torch.rand(4, generator=generator).tolist(), "heads", 2.0),
        unit("a", torch.rand(3, generator=generator).tolist()),
        unit("b", torch.rand(3, generator=generator).tolist()),
    ]
    chosen = allot(units, budget, "global")
    every = [list(counts) for counts in product(*(one.counts for one in units))]
    best = min(lost(units, counts) for counts in every if spent(units, counts) <= budget)
    assert spent(units, chosen) <= budget
    assert lost(units, chosen) <= best + 0.35  # what the hull may miss by: less than the smallest part's share
    assert lost(units, allot(units, 14.0, "global")) == 0.0


def test_global_takes_from_the_layer_that_matters_less() -> None:
    """Layers that are all cut alike although one of them does nothing."""
    units = [unit("a", [0.1, 0.1, 0.1, 0.1]), unit("b", [1.0, 1.0, 1.0, 1.0])]
    assert allot(units, 5, "global") == [1, 4]
    assert allot(units, 5, "uniform") == [2, 2]


def test_uniform_keeps_one_share_of_each_kind_in_every_layer() -> None:
    """Uneven layers where a stock class was promised."""
    heads = [unit(f"h{at}", [float(at + n) for n in range(4)], "heads", 10.0) for at in range(3)]
    neurons = [unit(f"n{at}", [0.01] * 16, "neurons", 1.0, 8) for at in range(3)]
    counts = allot([*heads, *neurons], 140, "uniform")
    assert len(set(counts[:3])) == 1 and len(set(counts[3:])) == 1
    assert counts == [3, 3, 3, 16, 16, 16] or spent([*heads, *neurons], counts) <= 140


def test_parts_that_cost_nothing_stay() -> None:
    """Neurons that are given up although the model would be no faster without them."""
    free = Unit("neurons", ("a",), torch.ones(3), (1, 2, 3), (5.0, 5.0, 5.0))
    assert allot([free, unit("b", [1.0, 1.0])], 6.0, "global") == [3, 1]


def test_a_budget_below_the_least_is_refused() -> None:
    """A model that is cut to nothing without a word."""
    with pytest.raises(InputError, match="cost 2, more than 1"):
        allot([unit("a", [1.0, 1.0]), unit("b", [1.0])], 1.0, "global")


def test_nearest_counts() -> None:
    """A ratio of a half that keeps less than half."""
    one = unit("a", [1.0] * 24, multiple=8)
    assert [nearest(one, share) for share in (0.01, 0.5, 0.7, 0.99)] == [8, 16, 16, 24]


def test_the_nearest_of_many_is_found_in_each_place() -> None:
    """Prevents a search by halves that misses an end, a count itself, or the larger of two that are equally near."""
    counts = allowed(3072, 1, 8)
    for wanted in (-1.0, 0.0, 7.9, 8.0, 12.0, 12.01, 1540.0, 3071.9, 3072.0, 9999.0):
        assert count_nearest(counts, wanted) == min(counts, key=lambda count: (abs(count - wanted), -count))
    assert count_nearest((5,), 1.0) == 5
