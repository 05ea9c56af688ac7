"""Rows that stand by length are cut into batches that cost least."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from compress.signals.batch_sizes import batch_sizes, shared_width

MOST = 50


def width(longest: int, size: int, largest: int) -> int:
    """The least width not under the longest row that makes the tokens a multiple of the largest power of two."""
    step = max(power for power in (1, 2, 4, 8, 16, 32, 64) if power <= largest) // size
    return max(longest, min(MOST, -(-longest // step) * step))


def cost(lengths: list[int], sizes: list[int], largest: int, per_batch: int) -> int:
    """Padded tokens, and `per_batch` for each batch."""
    starts = np.cumsum([0, *sizes])[:-1]
    return sum(
        size * width(lengths[start], size, largest) + per_batch for size, start in zip(sizes, starts, strict=True)
    )


def cheapest(lengths: list[int], largest: int, per_batch: int) -> int:
    """The least cost over all cuts into powers of two."""
    powers = [size for size in (1, 2, 4, 8, 16, 32) if size <= largest]

    @cache
    def of(start: int) -> int:
        if start == len(lengths):
            return 0
        fitting = [size for size in powers if start + size <= len(lengths)]
        return min(size * width(lengths[start], size, largest) + per_batch + of(start + size) for size in fitting)

    return of(0)


@pytest.mark.parametrize("largest", [1, 8, 12, 32])
@pytest.mark.parametrize("per_batch", [0, 10, 64])
@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_no_cut_is_cheaper(largest: int, per_batch: int, count: int) -> None:
    """Rows that are lost or taken twice, a shape for every number of rows, or padding that a better cut avoids before
    the rest.
    """
    draw = np.random.default_rng(count)
    lengths = sorted((min(MOST + 9, int(one)) for one in draw.geometric(0.05, count)), reverse=True)
    sizes = batch_sizes(lengths, largest, per_batch, MOST)
    assert sum(sizes) == count
    assert all(size <= largest and size & (size - 1) == 0 for size in sizes)
    full = count - count % max(power for power in (1, 2, 4, 8, 16, 32) if power <= max(1, min(largest, count)))
    head = sizes[: next(number for number in range(len(sizes) + 1) if sum(sizes[:number]) == full)]
    assert cost(lengths, head, largest, per_batch) == cheapest(lengths[:full], largest, per_batch)


def test_the_rest_has_the_shortest_rows() -> None:
    """A rest wherever it saves a few tokens: kernels for each of its sizes at every length, and memory that grows."""
    assert batch_sizes([*[9] * 5, *[8] * 70], 32, 64, 999) == [32, 32, 8, 2, 1]


def test_equal_rows_fill_their_batches() -> None:
    """Small batches where nothing is padded cost their overhead and save nothing."""
    assert batch_sizes([9] * 70, 32, 64, 999) == [32, 32, 4, 2]


def test_a_long_row_does_not_stretch_the_others() -> None:
    """A batch as long as its longest row: 31 rows of 10 tokens at 500 cost fifty times their work."""
    assert batch_sizes([500, *[10] * 32], 32, 64, 999)[0] == 1
    assert batch_sizes([500, *[10] * 62], 64, 64, 999)[0] == 1


def test_tokens_of_a_batch_are_a_multiple_of_the_largest() -> None:
    """A kernel for every number of rows times tokens: five times as many of them, and their memory."""
    for size in (1, 2, 4, 8, 16, 32):
        for longest in range(1, 90):
            wide = shared_width(longest, size, 48, 512)
            assert wide >= longest and size * wide % 32 == 0 and size * (wide - longest) < 32
    assert shared_width(45, 1, 32, 50) == 50  # the model reads no more
    assert shared_width(60, 1, 32, 50) == 60  # nothing is cut
