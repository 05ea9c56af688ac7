"""How large the ranks are: one by one, or all together under a budget of parameters."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from pydantic import Field, model_validator

from compress.core.errors import InputError
from compress.core.options import Options
from compress.factorize.norms import Cuttable


class Rank(Options):
    """The rank of one matrix, by one of three rules."""

    ratio: float | None = Field(None, gt=0, lt=1, description="the largest with at most this share of its parameters")
    energy: float | None = Field(None, gt=0, lt=1, description="the least that keeps this share of its energy")
    rank: int | None = Field(None, ge=1, description="this one for every matrix")

    @model_validator(mode="after")
    def _one_rule(self) -> Rank:
        given = [name for name in ("ratio", "energy", "rank") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of ratio, energy and rank, came {', '.join(given) or 'none'}")
        return self

    def of(self, matrix: Cuttable) -> int:
        """At least 1. Raises InputError for a ratio that is too small for a rank of 1."""
        if self.rank is not None:
            return self.rank
        if self.energy is not None:
            sizes = matrix.energies.cumsum(0) / matrix.energies.sum().clamp(min=1e-300)
            return min(len(sizes), 1 + int((sizes < self.energy).sum()))
        share, whole, step = float(self.ratio or 0), matrix.outputs * matrix.inputs, matrix.outputs + matrix.inputs
        rank = int(share * whole / step + 1e-9)
        if rank < 1:
            raise InputError(
                f"ratio: {share:g} of {matrix.name} ({matrix.outputs} x {matrix.inputs}) are less than a rank of 1; "
                f"use at least {step / whole:.3f}"
            )
        return rank


def ranks_of(matrices: Sequence[Cuttable], rank: Rank) -> dict[str, int | None]:
    """Name to rank; None where two factors would not be smaller, so that the matrix stays as it is."""
    return {one.name: found if (found := rank.of(one)) <= one.most else None for one in matrices}


def ranks_under(matrices: Sequence[Cuttable], budget: float, *, alike: bool) -> dict[str, int | None]:
    """Name to rank (None: as it is), with at most a share `budget` of all their parameters together.

    Each rank that is added goes to the matrix that gains most energy per parameter. Singular values fall, so that no
    other choice of the same cost keeps more, but for the last step of a matrix, from the largest rank that is smaller
    than the matrix to the matrix itself, which is worth more than the steps before it. alike: energy counts as a share
    of its matrix, for norms that cannot be compared between matrices. Raises InputError for a budget below rank 1
    everywhere.
    """
    whole = sum(one.outputs * one.inputs for one in matrices)
    left = int(budget * whole) - sum(one.cost(1) for one in matrices)
    if left < 0:
        least = sum(one.cost(1) for one in matrices) / whole
        raise InputError(
            f"budget: {budget:g} of the chosen matrices are less than a rank of 1 each; use at least {least:.3f}"
        )
    chosen = [1] * len(matrices)
    totals = [float(one.energies.sum()) if alike else 1.0 for one in matrices]
    waiting: list[tuple[float, int]] = []

    def offer(index: int) -> None:
        one, rank = matrices[index], chosen[index]
        if rank > one.most:
            return
        gained = one.energies[rank] if rank < one.most else one.energies[rank:].sum()
        price = one.cost(rank + 1) - one.cost(rank)
        heapq.heappush(waiting, (-float(gained) / max(totals[index], 1e-300) / price, index))

    for index in range(len(matrices)):
        offer(index)
    while waiting:
        _, index = heapq.heappop(waiting)
        price = matrices[index].cost(chosen[index] + 1) - matrices[index].cost(chosen[index])
        if price > left:
            continue  # a narrower matrix may still fit
        left -= price
        chosen[index] += 1
        offer(index)
    return {one.name: rank if rank <= one.most else None for one, rank in zip(matrices, chosen, strict=True)}
