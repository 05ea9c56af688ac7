"""Masks: compared, counted, written and read."""

from __future__ import annotations

import json

import pytest
import torch

from compress.core.errors import InputError
from compress.importance.masks import Masks, ones
from tests.models import tiny


def test_masks_go_through_json_and_are_compared_by_number() -> None:
    """Prevents masks that cannot be kept in a manifest, and `==` that compares tensors one by one."""
    masks = ones(tiny("bert", layers=2))
    next(iter(masks.heads.values()))[:3] = torch.tensor([0.0, 0.5, 0.0])
    again = Masks.from_facts(json.loads(json.dumps(masks.facts())))
    assert again == masks and again.heads.keys() == masks.heads.keys()
    assert masks != ones(tiny("bert", layers=2)) and masks != "masks"
    assert masks.kept() == {**dict.fromkeys(masks.heads, 4), **dict.fromkeys(masks.neurons, 32),
                            next(iter(masks.heads)): 2}  # fmt: skip
    assert masks.share_kept() == {"heads": 6 / 8, "neurons": 1.0}
    assert Masks({}, masks.neurons).share_kept() == {"neurons": 1.0}


@pytest.mark.parametrize("facts", [{}, {"heads": {"a": ["x"]}, "neurons": {}}, {"heads": [], "neurons": {}}])
def test_what_is_no_mask_is_refused(facts: dict[str, object]) -> None:
    """Prevents half a mask from a file that somebody edited."""
    with pytest.raises(InputError, match="expected masks as"):
        Masks.from_facts(facts)  # type: ignore[arg-type]
