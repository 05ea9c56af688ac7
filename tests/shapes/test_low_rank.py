"""A product of two matrices: its formula, its place in other code, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compress.shapes.low_rank import LowRankLinear


def test_it_is_up_times_weight_plus_bias() -> None:
    """Prevents factors in the wrong order or a bias inside the product; numbers by hand: 1*1 + 2*2 = 5."""
    layer = LowRankLinear(2, 3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0]]))
        layer.up.copy_(torch.tensor([[1.0], [0.0], [-2.0]]))
        assert layer.bias is not None
        layer.bias.copy_(torch.tensor([0.5, 0.5, 0.5]))
    assert layer(torch.tensor([1.0, 2.0])).tolist() == [5.5, 0.5, -9.5]
    assert layer.product().tolist() == [[1.0, 2.0], [0.0, 0.0], [-2.0, -4.0]]


def test_its_factors_are_the_same_tensors_and_the_same_function() -> None:
    """Prevents an int8 form, which is made from the factors, of another function."""
    layer, x = LowRankLinear(6, 5, 3), torch.randn(2, 4, 6)
    pair = layer.factors()
    assert torch.equal(pair(x), layer(x))
    assert [value.data_ptr() for value in pair.parameters()] == [
        value.data_ptr() for value in (layer.weight, layer.up, layer.bias) if value is not None
    ]
    assert LowRankLinear(6, 5, 3, bias=False).factors()[1].bias is None


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_of_the_same_size_refuses_its_weights(bias: bool) -> None:
    """Prevents a stock class that takes the folder and starts the layer at random."""
    dense, thin = nn.Linear(6, 5, bias=bias), LowRankLinear(6, 5, 3, bias=bias)
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        dense.load_state_dict(thin.state_dict(), strict=False)


def test_a_start_has_the_spread_that_was_asked_for() -> None:
    """Prevents a start that vanishes or explodes with the rank."""
    torch.manual_seed(0)
    layer = LowRankLinear(200, 300, 50)
    layer.reset(std=0.02)
    assert float(layer.product().detach().std()) == pytest.approx(0.02, rel=0.1)
    assert layer.bias is not None and not layer.bias.any()


@pytest.mark.parametrize("rank", [0, -1, 6])
def test_a_rank_that_is_none_is_refused(rank: int) -> None:
    """Prevents a layer larger than the one that it replaces, or an empty one."""
    with pytest.raises(ValueError, match="expected 1 to 5, the smaller side"):
        LowRankLinear(6, 5, rank)
