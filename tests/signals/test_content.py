"""Row keys: the same row has one key wherever it stands, and no other row has it."""

from __future__ import annotations

import numpy as np
import torch

from compress.signals.content import batch_keys
from compress.tasks.batch import pad
from tests.signals.made import batch_of, keys_of, rows


def test_a_row_has_one_key_alone_and_in_any_batch() -> None:
    """A key that padding, neighbours or order change would lose the row after the first shuffle."""
    features = rows(20)
    keys = keys_of(features)
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
    (plain,) = batch_keys(pad([{"input_ids": ids}], 0)).tolist()
    types = ([0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1, 1])
    batch = pad([{"input_ids": ids, "token_type_ids": held} for held in types], 0)
    zero, pair, other = batch_keys(batch).tolist()
    assert plain == zero and plain != pair and pair != other


def test_rows_that_look_alike_differ() -> None:
    """Keys over joined text (12, 3 and 1, 23) or without the length would mix rows up."""
    keys = batch_keys(pad([{"input_ids": ids} for ids in ([12, 3], [1, 23], [12, 3, 0], [0, 12, 3])], 0))
    assert len({tuple(key) for key in keys.tolist()}) == 4


def test_what_may_answer_tells_rows_apart() -> None:
    """A tokenizer without a separator gives two questions the same ids; each would get the other's scores."""
    ids = torch.tensor([[4, 5, 6, 7]])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    allowed = [torch.tensor([[True, *rest]]) for rest in ([False, True, True], [False, False, True])]
    one, two, again = (batch_keys({**batch, "allowed": mask}).tolist() for mask in (*allowed, allowed[0]))
    assert one == again != two
