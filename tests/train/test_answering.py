"""A frozen model in bf16 says what it said under autocast, and is otherwise as it came."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compress.train.answering import PLAIN_UP_TO, answering
from compress.train.place import arithmetic
from compress.train.plain_attention import NAME
from tests.models import tiny

CPU = torch.device("cpu")
IDS = torch.arange(5, 25).view(2, 10)
FAMILIES = ("bert", "roberta", "distilbert", "albert", "electra", "deberta-v2", "mpnet")


@pytest.mark.parametrize("family", FAMILIES)
def test_it_says_what_it_said_before(family: str) -> None:
    """Weights in bf16 that meet a buffer or a score in float32 would stop a training, or round away what is told."""
    torch.manual_seed(0)
    model = tiny(family, layers=2).eval()
    with torch.no_grad():
        exact = model(IDS).logits
        with answering(model, "bf16", CPU, 10), arithmetic("bf16", CPU):
            low = model(IDS).logits
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    torch.testing.assert_close(low.float(), exact, rtol=0.1, atol=0.05)


def test_buffers_keep_their_type() -> None:
    """Frequencies of rotary positions in bf16 put tokens at wrong places."""
    model = tiny("bert", layers=1)
    nn.Module.register_buffer(model, "frequencies", torch.ones(3))
    with answering(model, "bf16", CPU, 10):
        pass
    assert model.frequencies.dtype is torch.float32


@pytest.mark.parametrize(
    ("precision", "longest", "inside"),
    [("bf16", PLAIN_UP_TO, NAME), ("bf16", PLAIN_UP_TO + 1, "sdpa"), ("fp32", 10, "sdpa")],
)
def test_attention_in_one_piece_is_for_short_texts(precision: str, longest: int, inside: str) -> None:
    """Scores of long texts in one piece would fill the memory; the model must get its own attention back."""
    model = tiny("bert", layers=1)
    model.set_attn_implementation("sdpa")
    with answering(model, precision, CPU, longest):
        assert model.config._attn_implementation == inside
    assert model.config._attn_implementation == "sdpa"
    assert (next(model.parameters()).dtype is torch.float32) == (precision == "fp32")
