"""What every registered balancer must do; a new file under compress/distill/balance is picked up by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compress.distill.balance.base import BALANCERS

WEIGHTS = [1.0, 0.5, 2.0]


def terms_of(point: nn.Parameter) -> list[torch.Tensor]:
    """Three terms of very different size and slope at a point."""
    return [point.square().sum(), 100 * (point - 1).square().sum(), 0.01 * point.abs().sum()]


@pytest.mark.parametrize("name", BALANCERS.names())
def test_starts_near_the_recipe_and_gives_a_gradient(name: str) -> None:
    """Prevents a total that is cut off from the terms, and factors that are zero, negative or not finite."""
    balancer = BALANCERS.get(name)().build(3)
    point = nn.Parameter(torch.tensor([2.0, -1.0]))
    for _ in range(3):
        total = balancer(WEIGHTS, terms_of(point), [point])
        assert total.shape == () and torch.isfinite(total)
        (gradient,) = torch.autograd.grad(total, point)
        assert gradient.abs().sum() > 0 and point.grad is None
    factors = balancer.factors()
    assert factors is None or (factors.shape == (3,) and bool((factors > 0).all()) and not factors.requires_grad)


@pytest.mark.parametrize("name", BALANCERS.names())
def test_changes_nothing_while_it_is_only_asked(name: str) -> None:
    """Prevents evaluation, or the first-batch table, from moving the weights."""
    balancer = BALANCERS.get(name)().build(3).eval()
    before = {key: value.clone() for key, value in balancer.state_dict().items()}
    point = nn.Parameter(torch.tensor([2.0, -1.0]))
    plain = sum(w * t.item() for w, t in zip(WEIGHTS, terms_of(point), strict=True))
    assert balancer(WEIGHTS, terms_of(point), [point]).item() == pytest.approx(plain)
    with torch.no_grad():
        balancer.train()(WEIGHTS, terms_of(point), [point])
    assert all(torch.equal(value, before[key]) for key, value in balancer.state_dict().items())


@pytest.mark.parametrize("name", BALANCERS.names())
def test_names_its_source(name: str) -> None:
    """Prevents an undocumented method."""
    assert BALANCERS.get(name).__doc__ and (BALANCERS.get(name).paper or name == "none")
