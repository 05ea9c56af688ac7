"""Batches of whole groups: what a loss on rankings compares must stand in one batch, and in one process.

How many rows of which groups a batch takes is settled once, from the sizes of the groups alone. So every epoch has as
many batches as the others, which the schedule and a resumed run count on, whatever the shuffle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

Rows = tuple[int, ...]


class Packed:
    """The rows of a corpus by group, and the sizes of the groups that each batch takes.

    groups, lengths: of each row. batch_size: rows for each of `world` processes, which draw a batch together; a larger
    group is cut into parts, other ones in each epoch. least: the fewest rows of a batch, where there are as many.
    """

    def __init__(
        self, groups: Sequence[str], lengths: Sequence[int], batch_size: int, world: int = 1, least: int = 1
    ) -> None:
        self._lengths = np.asarray(lengths)
        self._world, self._least = world, max(1, least // world)
        members: dict[str, list[int]] = {}
        for row, group in enumerate(groups):
            members.setdefault(group, []).append(row)
        self._whole = [tuple(rows) for rows in members.values() if len(rows) <= batch_size]
        self._large = [(rows, -(-len(rows) // batch_size)) for rows in members.values() if len(rows) > batch_size]
        sizes = Counter(len(rows) for rows in self._whole)
        for rows, parts in self._large:
            sizes.update(len(part) for part in np.array_split(rows, parts))
        self._bins = _joined(_packed(sizes, batch_size * world), least)

    def __len__(self) -> int:
        return len(self._bins)

    def batches(self, draw: np.random.Generator, pool: int) -> Iterator[list[Rows]]:
        """The groups of each batch of one epoch. Of `pool` batches at a time those of similar length stand together."""
        waiting = self._by_size(draw)
        order = draw.permutation(len(self._bins))
        found: list[list[Rows]] = []
        for at in range(0, len(order), pool):
            bins = [self._bins[place] for place in order[at : at + pool]]
            wanted = Counter(size for sizes in bins for size in sizes)
            taken = {size: iter(self._by_length(waiting[size], count)) for size, count in wanted.items()}
            found += [[next(taken[size]) for size in sizes] for sizes in bins]
        for place in draw.permutation(len(found)):
            yield found[place]

    def shared(self, groups: Sequence[Rows]) -> list[Rows]:
        """The rows of a batch for each process: whole groups, as evenly as they go. A process may get none."""
        shares: list[list[int]] = [[] for _ in range(self._world)]
        for rows in sorted(groups, key=lambda rows: (-len(rows), self._longest(rows))):
            min(shares, key=len).extend(rows)
        while len(few := sorted(filter(None, shares), key=len)) > 1 and len(few[0]) < self._least:
            few[1].extend(few[0])
            few[0].clear()
        return [tuple(share) for share in shares]

    def _by_size(self, draw: np.random.Generator) -> dict[int, Iterator[Rows]]:
        """The groups of each size, shuffled; large ones cut anew."""
        units = list(self._whole)
        for rows, parts in self._large:
            units += [tuple(part.tolist()) for part in np.array_split(draw.permutation(rows), parts)]
        found: dict[int, list[Rows]] = {}
        for place in draw.permutation(len(units)):
            found.setdefault(len(units[place]), []).append(units[place])
        return {size: iter(rows) for size, rows in found.items()}

    def _by_length(self, waiting: Iterator[Rows], count: int) -> list[Rows]:
        """The next `count` groups, the shortest first."""
        return sorted((next(waiting) for _ in range(count)), key=self._longest)

    def _longest(self, rows: Rows) -> int:
        return int(self._lengths[list(rows)].max())


def _packed(sizes: Counter[int], room: int) -> list[list[int]]:
    """Sizes in as few bins of `room` as best-fit-decreasing gives: each goes where it leaves the least."""
    bins: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(room + 1)]  # bins by the room they have left
    for size in sorted(sizes, reverse=True):
        for _ in range(sizes[size]):
            left = next((left for left in range(size, room + 1) if with_room[left]), None)
            if left is None:
                bins.append([])
                place, left = len(bins) - 1, room
            else:
                place = with_room[left].pop()
            bins[place].append(size)
            with_room[left - size].append(place)
    return bins


def _joined(bins: list[list[int]], least: int) -> list[list[int]]:
    """The same bins; those with fewer than `least` rows join the next smallest."""
    found = sorted(bins, key=sum, reverse=True)
    while len(found) > 1 and sum(found[-1]) < least:
        few = found.pop()
        found[-1] = found[-1] + few
        found.sort(key=sum, reverse=True)
    return found
