"""A frozen model in bf16 says what it said under autocast, and is otherwise as it came."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from compress.tasks.embed import Embed
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
    assert float((low.float() - exact).norm() / exact.norm()) < 0.03


def test_embeddings_are_pooled_in_float32() -> None:
    """A mean over tokens in bf16 rounds what a store calls float32, and lengths of 1 are no longer 1."""
    states = torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    batch = {"attention_mask": torch.ones(2, 9, dtype=torch.long)}
    found = Embed().read(SimpleNamespace(last_hidden_state=states), batch)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(2))


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
