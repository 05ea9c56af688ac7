"""How rows that stand by length are cut into batches when no order has to be kept."""

from __future__ import annotations

from collections.abc import Sequence

# What a batch costs besides its tokens, in tokens. On a CPU: the time of about 50 (6 x 384), and kernels for its shape,
# which stay in memory. A GPU could do thousands while one more pass is started (not measured).
PER_BATCH = {"cpu": 256, "cuda": 4096}


def shared_width(longest: int, size: int, largest: int, most: int) -> int:
    """Tokens that a batch of `size` rows is padded to: its rows times its tokens are a multiple of `largest`.

    A layer's matrix products see the tokens of all rows in one piece, so batches of different sizes share the kernels
    that math libraries make, and keep, for every number of them; those of a training in batches of `largest`, too.
    most: the longest that the model reads.
    """
    step = (1 << largest.bit_length()) // (2 * size)  # of the power of two that `largest` has room for
    return max(longest, min(most, longest + -longest % step)) if step else longest


def batch_sizes(lengths: Sequence[int], largest: int, per_batch: int, most: int) -> list[int]:
    """Sizes of the batches that `lengths` (tokens of each row, descending) are cut into; `largest` is at least 1.

    A batch costs its rows times its width (`shared_width`, as it takes `most`), and `per_batch` tokens. Batches of one
    size waste a quarter where few rows differ much in length, as those of a shard of hidden states do. All sizes are
    powers of two, at most `largest`, and what does not fill one of those comes last: math libraries keep a kernel for
    each shape that they have met, and with any number of rows, or a rest of any length, there would be new shapes in
    every shard, and memory that grows with the corpus. The rows before that rest are cut so that they cost least in
    all.
    """
    sizes = [1 << power for power in range(max(1, min(largest, len(lengths)).bit_length()))]
    rest = len(lengths) % sizes[-1]
    count = len(lengths) - rest
    cost, taken = [0] * (count + 1), [0] * count  # of the rows from each place on, and the size that begins there
    for place in range(count - 1, -1, -1):
        fitting = [size for size in sizes if place + size <= count]
        costs = [size * shared_width(lengths[place], size, largest, most) + cost[place + size] for size in fitting]
        cheapest = min(costs)
        cost[place] = cheapest + per_batch
        taken[place] = max(size for size, one in zip(fitting, costs, strict=True) if one == cheapest)
    found, place = [], 0
    while place < count:
        found.append(taken[place])
        place += found[-1]
    return found + [size for size in reversed(sizes) if size & rest]
