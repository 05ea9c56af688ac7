"""Row keys: the same row has one key wherever it stands, and no other row has it."""

from __future__ import annotations

import numpy as np
import torch

from compress.signals.content import batch_keys, feature_keys
from tests.signals.made import batch_of, rows


def test_a_row_has_one_key_in_features_and_in_any_batch() -> None:
    """A key that padding, neighbours or order change would lose the row after the first shuffle."""
    features = rows(20)
    keys = feature_keys(features)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1)).tolist()
    for start in range(0, 20, 6):
        chosen = order[start : start + 6]
        assert np.array_equal(batch_keys(batch_of([features[row] for row in chosen])), keys[chosen])
    assert len({tuple(key) for key in keys.tolist()}) == 20


def test_padding_on_the_left_does_not_count() -> None:
    """Some tokenizers pad on the left."""
    right = {"input_ids": torch.tensor([[7, 8, 0]]), "attention_mask": torch.tensor([[1, 1, 0]])}
    left = {"input_ids": torch.tensor([[0, 7, 8]]), "attention_mask": torch.tensor([[0, 1, 1]])}
    assert np.array_equal(batch_keys(right), batch_keys(left))


def test_token_types_count_only_when_they_say_something() -> None:
    """A pair cut elsewhere is another row; a tokenizer that leaves out zeros means the same one."""
    ids = [5, 6, 7, 8]
    plain, zero, pair, other = feature_keys(
        [
            {"input_ids": ids},
            {"input_ids": ids, "token_type_ids": [0, 0, 0, 0]},
            {"input_ids": ids, "token_type_ids": [0, 0, 1, 1]},
            {"input_ids": ids, "token_type_ids": [0, 1, 1, 1]},
        ]
    ).tolist()
    assert plain == zero and plain != pair and pair != other


def test_rows_that_look_alike_differ() -> None:
    """Keys over joined text (12, 3 and 1, 23) or without the length would mix rows up."""
    keys = feature_keys([{"input_ids": ids} for ids in ([12, 3], [1, 23], [12, 3, 0], [0, 12, 3], [])])
    assert len({tuple(key) for key in keys.tolist()}) == 5
