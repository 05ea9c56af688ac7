"""How many heads and neurons each layer keeps: the least importance lost within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress.core.errors import InputError
from compress.importance import counts
from compress.importance.counts import allowed as allowed

Floats = NDArray[np.float64]
_HALVINGS = 120


@dataclass(frozen=True)
class Unit:
    """Heads or neurons that are chosen together.

    kind: `heads` or `neurons`. names: the blocks that must keep the same. scores: `[n]`, larger counts more.
    counts: the numbers that may be kept, rising; the last one is n, or the one that a ratio has settled. costs: what
    each of them costs, not falling. gone: what the parts cost that a settled count has taken, 0 where nothing is.
    """

    kind: str
    names: tuple[str, ...]
    scores: Tensor
    counts: tuple[int, ...]
    costs: tuple[float, ...]
    gone: float = 0.0

    @property
    def lost(self) -> Floats:
        """Importance that is lost by keeping the best of each count."""
        ranked = self.scores.double().sort(descending=True).values
        kept = torch.cat([torch.zeros(1, dtype=torch.float64), ranked.cumsum(0)])
        return np.asarray((kept[-1] - kept[list(self.counts)]).numpy(), dtype=np.float64)

    def mask(self, count: int) -> Tensor:
        """`[n]`: 1 for the best `count`, 0 for the others; of equal scores the first ones stay."""
        best = self.scores.sort(descending=True, stable=True).indices[:count]
        return torch.zeros_like(self.scores).index_fill_(0, best, 1.0)


def nearest(unit: Unit, share: float) -> int:
    """The allowed count that is nearest to a share of all; the larger of two that are equally near."""
    return counts.nearest(unit.counts, share * unit.counts[-1])


def step_of(unit: Unit) -> int:
    """How many parts the fewest allowed counts lie apart: half of it is what rounding may change."""
    return unit.counts[1] - unit.counts[0] if len(unit.counts) > 1 else unit.counts[0]


def refuse_too_few(what: str, units: Sequence[Unit], share: float) -> None:
    """Raises InputError, naming the nearest ratio, where a share of all parts is less than rounding could make of the
    fewest that may stay. Each part counts once for every block that it is chosen for."""
    every = [(unit, len(unit.names)) for unit in units]
    total = sum(blocks * unit.counts[-1] for unit, blocks in every)
    least = sum(blocks * unit.counts[0] for unit, blocks in every)
    slack = sum(blocks * step_of(unit) for unit, blocks in every) / 2
    if least - share * total > slack * (1 + 1e-9):
        raise InputError(
            f"{what}: {share * total:.4g} of {total} {units[0].kind} would stay, and every layer must keep "
            f"{units[0].counts[0]}; nearest is a ratio of {int(1000 * (1 - least / total)) / 1000:g}"
        )


def allot(units: Sequence[Unit], budget: float, spread: str) -> list[int]:
    """The count of each unit whose costs together are at most `budget`.

    spread: `global` lets layers differ; `uniform` keeps the same share of one kind in every layer. Raises InputError
    when even the fewest of everything cost more.
    """
    least = sum(unit.costs[0] for unit in units)
    if least > budget:
        raise InputError(f"the fewest that can stay cost {least:g}, more than {budget:g}")
    if sum(unit.costs[-1] for unit in units) <= budget:
        return [unit.counts[-1] for unit in units]  # scores below 0 too: nothing has to go
    return _uniform(units, budget) if spread == "uniform" else _global(units, budget)


def _global(units: Sequence[Unit], budget: float) -> list[int]:
    """By Lagrange: every unit minimises lost + price x cost on its own, at the lowest price that meets the budget.

    That is exact on the convex hull; what is left of the budget is then spent greedily.
    """
    lost, costs = [unit.lost for unit in units], [np.asarray(unit.costs) for unit in units]

    def at(price: float) -> list[int]:
        # Of equal sums the larger count, so that nothing goes that costs nothing.
        return [len(c) - 1 - int(np.argmin((loss + price * c)[::-1])) for loss, c in zip(lost, costs, strict=True)]

    def total(chosen: Sequence[int]) -> float:
        return float(sum(c[index] for c, index in zip(costs, chosen, strict=True)))

    chosen = at(0.0)
    if total(chosen) > budget:
        high = _highest_price(lost, costs)
        low, chosen = high * 1e-18, [0] * len(units)
        for _ in range(_HALVINGS):
            price = (low * high) ** 0.5
            tried = at(price)
            if total(tried) > budget:
                low = price
            else:
                high, chosen = price, tried
    _spend(chosen, lost, costs, budget - total(chosen))
    return [unit.counts[index] for unit, index in zip(units, chosen, strict=True)]


def _highest_price(lost: Sequence[Floats], costs: Sequence[Floats]) -> float:
    """A price at which every unit gives up all that it can."""
    steps = [step for c in costs for step in np.diff(c) if step > 0]
    most = max(float(np.abs(loss).max()) for loss in lost)
    return 2 * most / min(steps) + 1e-300 if steps else 1.0


def _spend(chosen: list[int], lost: Sequence[Floats], costs: Sequence[Floats], left: float) -> None:
    """Give back what saves most for what it costs, as long as it fits."""
    while True:
        best: tuple[float, int, int] | None = None
        for unit, (loss, cost) in enumerate(zip(lost, costs, strict=True)):
            here = chosen[unit]
            more, saved = cost[here + 1 :] - cost[here], loss[here] - loss[here + 1 :]
            for step in np.flatnonzero((more <= left) & (saved > 0)):
                worth = float(saved[step]) / max(float(more[step]), 1e-300)
                if best is None or worth > best[0]:
                    best = (worth, unit, here + 1 + int(step))
        if best is None:
            return
        left -= float(costs[best[1]][best[2]] - costs[best[1]][chosen[best[1]]])
        chosen[best[1]] = best[2]


def _uniform(units: Sequence[Unit], budget: float) -> list[int]:
    """The best pair of shares, one for heads and one for neurons, that every layer keeps."""
    kinds = sorted({unit.kind for unit in units})
    tables = []
    for kind in kinds:
        own = [unit for unit in units if unit.kind == kind]
        finest = max(own, key=lambda unit: len(unit.counts))
        shares = [count / finest.counts[-1] for count in finest.counts]
        index = [{count: place for place, count in enumerate(unit.counts)} for unit in own]
        places = [[held[nearest(unit, share)] for unit, held in zip(own, index, strict=True)] for share in shares]
        losses = [unit.lost for unit in own]  # each sorts its scores
        lost = [float(sum(loss[at] for loss, at in zip(losses, row, strict=True))) for row in places]
        costs = [sum(unit.costs[at] for unit, at in zip(own, row, strict=True)) for row in places]
        tables.append((own, places, lost, costs))
    fits = []
    for chosen in product(*(range(len(table[2])) for table in tables)):
        cost = sum(table[3][at] for table, at in zip(tables, chosen, strict=True))
        if cost <= budget * (1 + 1e-12):
            fits.append((sum(table[2][at] for table, at in zip(tables, chosen, strict=True)), -cost, chosen))
    if not fits:
        raise InputError(f"no share that every layer keeps costs at most {budget:g}")
    best = min(fits)[2]
    counts: dict[tuple[str, ...], int] = {}
    for table, at in zip(tables, best, strict=True):
        counts |= {unit.names: unit.counts[place] for unit, place in zip(table[0], table[1][at], strict=True)}
    return [counts[unit.names] for unit in units]
