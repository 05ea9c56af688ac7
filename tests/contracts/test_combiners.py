"""What every registered way of combining teachers must do; a new file under compress/distill/combine is picked up."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from compress.core.trace import Trace
from compress.distill.combine.base import COMBINERS, rows
from tests.contracts.test_losses import trace


def tokens(seed: int) -> Trace:
    """Logits for every token, of which three count."""
    draw = torch.Generator().manual_seed(seed)
    outputs = torch.zeros(2, 5, dtype=torch.bool)
    outputs[0, :3] = True
    labels = torch.full((2, 5), -100)
    labels[0, :3] = 1
    mask = torch.ones(2, 5, dtype=torch.bool)
    logits = torch.randn(2, 5, 3, generator=draw)
    return replace(trace(seed, 3), mask=mask, logits=logits, outputs=outputs, labels=labels)


@pytest.mark.parametrize("name", COMBINERS.names())
@pytest.mark.parametrize("per_token", [False, True])
def test_shares_are_a_distribution_over_teachers(name: str, per_token: bool) -> None:
    """Prevents shares that do not sum to 1 (a learning rate that changes with the teachers) or are negative."""
    traces = [tokens(seed) if per_token else trace(seed, 3) for seed in (1, 2, 3)]
    combine = COMBINERS.get(name)()
    shares = combine.shares(traces)
    rows_of_trace = len(traces[0].mask)
    assert shares.shape == ((3, 2, 5) if per_token else (3, rows_of_trace))
    assert torch.allclose(shares.sum(0), torch.ones(shares.shape[1:])) and bool((shares >= 0).all())
    assert torch.allclose(rows(shares, traces[0]).sum(0), torch.ones(rows_of_trace))
    unlabelled = [replace(each, labels=None) for each in traces]
    assert torch.allclose(combine.shares(unlabelled).sum(0), torch.ones(shares.shape[1:]))


@pytest.mark.parametrize("name", COMBINERS.names())
@pytest.mark.parametrize("of", ["auto", "probabilities", "logits"])
def test_combined_outputs_lie_between_the_teachers(name: str, of: str) -> None:
    """Prevents a common teacher that says what no teacher says: equal ones give themselves, whatever the shares."""
    traces = [tokens(1), tokens(1), tokens(1)]
    combine = COMBINERS.get(name).model_validate({"of": of})
    found = combine.combined(traces, combine.shares(traces), "classes")
    assert found.logits is not None and traces[0].logits is not None
    assert torch.allclose(found.logits, traces[0].logits, atol=1e-5)
    assert found.outputs is traces[0].outputs and found.labels is traces[0].labels


@pytest.mark.parametrize("name", COMBINERS.names())
def test_names_its_source(name: str) -> None:
    """Prevents an undocumented method."""
    assert COMBINERS.get(name).__doc__ and COMBINERS.get(name).paper
