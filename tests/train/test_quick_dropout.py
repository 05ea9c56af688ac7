"""Dropout with four draws from one number is dropout all the same."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compress.train.quick_dropout import QuickDropout, quick_dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_it_drops_its_share_and_keeps_the_mean(p: float) -> None:
    """A threshold off by half the range would drop nothing or all; a wrong scale would shift every activation."""
    torch.manual_seed(0)
    count = 200_003  # not a multiple of four
    out = QuickDropout(p)(torch.ones(count))
    spread = 5 * (p * (1 - p) / count) ** 0.5
    assert abs(float((out == 0).float().mean()) - p) < spread
    torch.testing.assert_close(out[out > 0], torch.full((int((out > 0).sum()),), 1 / (1 - p)), rtol=1e-4, atol=0)


def test_the_four_draws_of_one_number_are_apart() -> None:
    """Neighbours that fall together would drop whole runs of features."""
    torch.manual_seed(0)
    kept = (QuickDropout(0.5)(torch.ones(80_000)) > 0).float().view(-1, 4)
    together = torch.corrcoef(kept.T) - torch.eye(4)
    assert float(together.abs().max()) < 5 / 20_000**0.5


def test_the_gradient_has_the_zeros_of_the_values() -> None:
    """A second draw in the backward pass would train by noise."""
    torch.manual_seed(0)
    values = torch.ones(3, 1000, requires_grad=True)
    out = QuickDropout(0.3)(values)
    out.sum().backward()
    torch.testing.assert_close(values.grad, out.detach())


def test_equal_seeds_draw_alike_and_others_do_not() -> None:
    """Numbers of another generator than torch's would not be in the checkpoint."""
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(QuickDropout(0.1)(torch.ones(1000)))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_a_module_gets_its_layers_back() -> None:
    """A class that stays would be pickled with the model; chances without a draw must not divide by zero."""
    layers = nn.ModuleList([nn.Dropout(0.1), nn.Dropout(0.0), nn.Dropout(1.0), nn.Dropout1d(0.1)])
    with quick_dropout(layers):
        assert [type(one) is QuickDropout for one in layers] == [True, True, True, False]
        assert [float(one(torch.ones(9)).sum()) for one in layers[1:3]] == [9, 0]
        layers.eval()
        assert torch.equal(layers[0](torch.ones(100)), torch.ones(100))
    assert [type(one) for one in layers] == [nn.Dropout, nn.Dropout, nn.Dropout, nn.Dropout1d]
