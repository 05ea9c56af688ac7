"""Rows drawn by seed."""

from __future__ import annotations

from typing import Any

import pytest

from compress.core.errors import InputError
from compress.corpora.carve import carve_dev, limited

ROWS: list[dict[str, Any]] = [{"text": f"t {n // 2}", "label": int(n >= 80)} for n in range(100)]


def test_a_carved_dev_split_is_disjoint_stratified_and_the_same_for_a_seed() -> None:
    """A dev split that shares texts with train, lacks the rare label, or changes from run to run."""
    train, dev = carve_dev(ROWS, 0.1, 3)
    assert len(train) + len(dev) == 100 and len(dev) == 10
    assert not {row["text"] for row in train} & {row["text"] for row in dev}
    assert sum(row["label"] for row in dev) == 2
    assert (train, dev) == carve_dev(ROWS, 0.1, 3) and dev != carve_dev(ROWS, 0.1, 4)[1]


def test_too_few_rows_to_carve() -> None:
    """An empty dev split that only fails when it is scored."""
    with pytest.raises(InputError, match="too few to carve"):
        carve_dev([{"text": "a"}], 0.1, 1)


def test_a_limit_draws_from_all_rows_in_order() -> None:
    """The first rows of a sorted file, all of one label, taken as a sample."""
    few = limited(ROWS, 20, 1)
    assert len(few) == 20 and few == limited(ROWS, 20, 1) and {row["label"] for row in few} == {0, 1}
    assert [ROWS.index(row) for row in few] == sorted(ROWS.index(row) for row in few)
    assert limited(ROWS, None, 1) is ROWS and limited(ROWS, 200, 1) is ROWS
