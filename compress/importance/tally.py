"""Means over the rows of many batches."""

from __future__ import annotations

from torch import Tensor


class Tally:
    """Sums by name, in float32 where the rows are, and how many rows each is the sum of."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, rows: Tensor) -> None:
        """Rows `[n, ...]`."""
        self.put(name, rows.sum(0), len(rows))

    def put(self, name: str, total: Tensor, count: int) -> None:
        """What `count` rows sum to."""
        self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._counts[name] = self._counts.get(name, 0) + count

    def names(self) -> list[str]:
        """In the order in which they came."""
        return list(self._sums)

    def mean(self, name: str) -> Tensor:
        """On the CPU."""
        return self._sums[name].cpu() / max(self._counts[name], 1)
