"""Traces: captured parts and attention scores."""

from __future__ import annotations

import math

import pytest
import torch

from compress.core.errors import InputError
from compress.core.trace import Trace


def test_attention_scores_are_scaled_products() -> None:
    """Without the division by sqrt(e), heads of different width could not be compared."""
    query = torch.tensor([[[[1.0, 2.0], [0.0, 1.0]]]])
    key = torch.tensor([[[[3.0, 4.0], [1.0, 0.0]]]])
    trace = Trace(torch.ones(1, 2, dtype=torch.bool), queries={1: query}, keys={1: key}, depth=1)
    expected = torch.tensor([[[[11.0, 1.0], [4.0, 0.0]]]]) / math.sqrt(2)
    assert torch.allclose(trace.attention_scores(1), expected)


def test_what_was_not_captured_is_named() -> None:
    """A KeyError deep in a loss would not say which layer was missing, nor of what."""
    hidden = {0: torch.zeros(1, 2, 3)}
    trace = Trace(torch.ones(1, 2, dtype=torch.bool), hidden=hidden)
    assert trace.hidden_at(0) is hidden[0]
    with pytest.raises(InputError, match=r"no hidden state of layer 2 \(it has 0\)"):
        trace.hidden_at(2)
    with pytest.raises(InputError, match=r"no query of layer 1 \(it has none\)"):
        trace.attention_scores(1)


def test_with_hidden_keeps_the_rest() -> None:
    """A projection replaces the hidden states and nothing else."""
    logits = torch.zeros(1, 2)
    trace = Trace(torch.ones(1, 2, dtype=torch.bool), logits=logits, hidden={1: torch.zeros(1, 2, 3)}, depth=1)
    new = {1: torch.ones(1, 2, 4)}
    assert trace.with_hidden(new).hidden is new
    assert trace.with_hidden(new).logits is logits
    assert trace.with_hidden(new).depth == 1
