"""A loss that is not given what it needs says so: the reason, not an error from deep inside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.losses.base import LOSSES
from tests.contracts.test_losses import made

PARTS: dict[str, dict[str, Any]] = {
    "logits": {"logits": None},
    "hidden": {"hidden": None},
    "attention": {"queries": None, "keys": None},
    "values": {"values": None},
    "embedding": {"embedding": None},
}
CASES = [(name, part) for name in LOSSES.names() for part in PARTS if part in LOSSES.get(name)().needs]


@pytest.mark.parametrize(("name", "part"), CASES)
def test_a_trace_without_it_is_refused(name: str, part: str) -> None:
    """Prevents a crash on None, or a loss that is silently smaller, when a model or a store cannot give a part."""
    loss, student, teacher = made(name)
    with pytest.raises(InputError):
        loss(replace(student, **PARTS[part]), teacher)
    if loss.needs_teacher:
        with pytest.raises(InputError):
            loss(student, replace(teacher, **PARTS[part]))
        with pytest.raises(InputError):
            loss(student, None)


@pytest.mark.parametrize("name", [name for name in LOSSES.names() if LOSSES.get(name).needs_labels])
def test_rows_without_labels_are_refused(name: str) -> None:
    """Prevents a loss on labels from training on rows that have none."""
    loss, student, teacher = made(name)
    with pytest.raises(InputError):
        loss(replace(student, labels=None), teacher)
