"""The losses on hidden states and attention against numbers worked out by hand from the papers' formulas."""

from __future__ import annotations

import math

import pytest
import torch

from compress.core.errors import InputError
from compress.losses.attention_mse import AttentionMSE
from compress.losses.hidden_cosine import HiddenCosine
from compress.losses.hidden_mse import HiddenMSE
from tests.losses.traces import heads, states


def test_hidden_mse_by_hand() -> None:
    """Prevents a wrong mean: embeddings differ by (1, 1) -> 1, layer 1 against 2 by (0, 2) -> 2; their sum is 3."""
    student = states({0: [[[1.0, 1.0]]], 1: [[[0.0, 2.0]]]}, [[1]], depth=1)
    teacher = states({0: [[[0.0, 0.0]]], 1: [[[9.0, 9.0]]], 2: [[[0.0, 0.0]]]}, [[1]], depth=2)
    assert HiddenMSE()(student, teacher).item() == pytest.approx(3.0)
    assert HiddenMSE(embeddings=False)(student, teacher).item() == pytest.approx(2.0)


def test_hidden_mse_ignores_padding() -> None:
    """Prevents padding from counting: the second token is padding, and its 100 must not enter."""
    student = states({1: [[[1.0], [100.0]]]}, [[1, 0]], depth=1)
    teacher = states({1: [[[0.0], [0.0]]]}, [[1, 0]], depth=1)
    assert HiddenMSE(embeddings=False)(student, teacher).item() == pytest.approx(1.0)


def test_hidden_cosine_by_hand() -> None:
    """Prevents a wrong sign or a padded mean: angles of 90 and 0 degrees give (1 + 0) / 2; padding is left out."""
    student = states({1: [[[1.0, 0.0], [2.0, 2.0], [1.0, 0.0]]]}, [[1, 1, 0]], depth=1)
    teacher = states({2: [[[0.0, 3.0], [1.0, 1.0], [-1.0, 0.0]]]}, [[1, 1, 0]], depth=2)
    assert HiddenCosine()(student, teacher).item() == pytest.approx(0.5, abs=1e-6)


def test_attention_mse_by_hand() -> None:
    """Prevents normalised or unscaled scores: q k / sqrt(e) = 2 * 3 / sqrt(4) = 3 against 1 gives 4."""
    student = heads(torch.tensor([[[[2.0, 0, 0, 0]]]]), torch.tensor([[[[3.0, 0, 0, 0]]]]), [[1]])
    teacher = heads(torch.tensor([[[[1.0]]]]), torch.tensor([[[[1.0]]]]), [[1]])
    assert AttentionMSE()(student, teacher).item() == pytest.approx(4.0)


def test_attention_mse_counts_only_pairs_of_real_tokens() -> None:
    """Prevents padding from counting as query or key: of 2 x 2 pairs one is real, with a difference of 1."""
    one, zero = torch.ones(1, 1, 2, 1), torch.zeros(1, 1, 2, 1)
    far = torch.tensor([[[[1.0], [50.0]]]])
    found = AttentionMSE()(heads(far, one, [[1, 0]]), heads(zero, one, [[1, 0]]))
    assert found.item() == pytest.approx(1.0)


def test_attention_mse_with_unequal_heads_compares_means() -> None:
    """Prevents a crash or a silent broadcast when head counts differ: mean of scores 1 and 3 is 2, against 2."""
    student = heads(torch.tensor([[[[1.0]], [[3.0]]]]), torch.ones(1, 2, 1, 1), [[1]])
    teacher = heads(torch.tensor([[[[2.0]], [[2.0]], [[2.0]]]]), torch.ones(1, 3, 1, 1), [[1]])
    assert AttentionMSE()(student, teacher).item() == pytest.approx(0.0)


def test_attention_mse_with_equal_heads_compares_head_by_head() -> None:
    """Prevents averaging away a difference between heads: scores (1, 3) against (3, 1) give 4, not 0."""
    student = heads(torch.tensor([[[[1.0]], [[3.0]]]]), torch.ones(1, 2, 1, 1), [[1]])
    teacher = heads(torch.tensor([[[[3.0]], [[1.0]]]]), torch.ones(1, 2, 1, 1), [[1]])
    assert AttentionMSE()(student, teacher).item() == pytest.approx(4.0)


def test_scale_free_in_length_and_batch() -> None:
    """Prevents a loss that grows with tokens or rows: repeating both changes nothing."""
    q, k = torch.full((1, 1, 1, 4), 0.5), torch.full((1, 1, 1, 4), 2.0)
    short = AttentionMSE()(heads(q, k, [[1]]), heads(2 * q, k, [[1]]))
    long_q, long_k = q.repeat(3, 1, 5, 1), k.repeat(3, 1, 5, 1)
    long = AttentionMSE()(heads(long_q, long_k, [[1] * 5] * 3), heads(2 * long_q, long_k, [[1] * 5] * 3))
    assert short.item() == pytest.approx(long.item()) == pytest.approx((2.0 - 4.0) ** 2)


def test_degenerate_input_is_refused_with_the_reason() -> None:
    """Prevents silent nonsense: unequal widths, a layer that is not there, attention of the embeddings, no token."""
    student = states({0: [[[1.0]]], 1: [[[1.0]]]}, [[1]], depth=1)
    wide = states({0: [[[1.0, 2.0]]], 1: [[[1.0, 2.0]]]}, [[1]], depth=1)
    with pytest.raises(InputError, match="1 wide and the teacher 2"):
        HiddenMSE()(student, wide)
    with pytest.raises(InputError, match="teacher layer 3"):
        HiddenMSE(map=[[1, 3]])(student, student)
    with pytest.raises(InputError, match="no attention"):
        AttentionMSE(map=[[0, 0]])(student, student)
    empty = states({0: [[[1.0]]], 1: [[[1.0]]]}, [[0]], depth=1)
    with pytest.raises(InputError, match="masked"):
        HiddenMSE()(empty, empty)
    one = torch.ones(1, 1, 1, 1)
    with pytest.raises(InputError, match="masked"):
        AttentionMSE()(heads(one, one, [[0]]), heads(one, one, [[0]]))
    with pytest.raises(InputError, match="1 tokens and the teacher 2"):
        AttentionMSE()(heads(one, one, [[1]]), heads(one.repeat(1, 1, 2, 1), one.repeat(1, 1, 2, 1), [[1, 1]]))


def test_identical_traces_cost_nothing() -> None:
    """Prevents a loss whose minimum is not the teacher."""
    hidden = {layer: torch.randn(2, 3, 4).tolist() for layer in range(3)}
    trace = states(hidden, [[1, 1, 1], [1, 1, 0]], depth=2)
    assert HiddenMSE(map="first")(trace, trace).item() == 0
    assert HiddenCosine()(trace, trace).item() == pytest.approx(0, abs=1e-6)
    assert math.isfinite(HiddenCosine(map="uniform")(trace, trace).item())
