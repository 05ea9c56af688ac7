"""The meter: means since the last entry, and a stop with a named cause at the first NaN."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from compress.core.errors import JobError
from compress.train.meter import Meter, Observed


def _seen(step: int, loss: float, batch: dict[str, torch.Tensor] | None = None, **terms: float) -> Observed:
    return Observed(step, torch.tensor(loss), terms, batch or {"input_ids": torch.ones(2, 3, dtype=torch.long)})


def _meter(every: int = 1) -> Meter:
    return Meter(nn.Linear(2, 2), learning_rate=0.5, every=every)


def test_means_since_the_last_entry() -> None:
    """A mean over the whole run hides what the loss does now."""
    meter = _meter()
    for loss in (1.0, 3.0):
        meter.add(_seen(1, loss, hard=loss * 2))
    assert meter.take() == (2.0, {"hard": 4.0})
    meter.add(_seen(2, 5.0, hard=1.0))
    assert meter.take() == (5.0, {"hard": 1.0})
    assert meter.take() == (None, {})


def test_its_state_survives_json() -> None:
    """Sums lost in a resume make the history of a resumed run differ."""
    meter, other = _meter(), _meter()
    meter.add(_seen(1, 0.1, hard=0.3))
    other.restore(json.loads(json.dumps(meter.state())))
    for one in (meter, other):
        one.add(_seen(2, 0.2, hard=0.7))
    assert meter.take() == other.take()


def test_a_nan_names_step_term_and_rate() -> None:
    """`loss is nan` alone leaves the user to guess among all terms and options."""
    with pytest.raises(JobError, match=r"step 7: the loss \(term pull\) is nan.*learning rate.*0\.5"):
        _meter().add(_seen(7, math.nan, hard=0.1, pull=math.nan))


def test_dirty_data_is_named_as_the_cause() -> None:
    """Advice to lower the learning rate, when the scores of the corpus hold NaN, costs hours."""
    batch = {"input_ids": torch.ones(2, 3, dtype=torch.long), "labels": torch.tensor([0.5, math.nan])}
    with pytest.raises(JobError, match="the data: labels of this batch holds NaN"):
        _meter().add(_seen(3, math.nan, batch))


def test_weights_that_are_gone_are_told() -> None:
    """A loss that is NaN because the weights are is no fault of the batch."""
    meter = _meter()
    with torch.no_grad():
        next(meter.module.parameters()).fill_(math.inf)
    with pytest.raises(JobError, match="the weights are not finite any more"):
        meter.add(_seen(3, math.inf))


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change() -> None:
    """A finite loss with a NaN gradient ruins the weights, and the next checkpoint would keep them."""
    with pytest.raises(JobError, match=r"step 4: the gradient is nan"):
        _meter().add_norm(4, torch.tensor(math.nan))


def test_a_gpu_is_read_once_in_a_while_and_before_anything_is_kept() -> None:
    """A read per step stalls a GPU; a read never lets NaN weights into a checkpoint."""
    meter = _meter(every=25)
    meter.add(_seen(1, math.nan))
    with pytest.raises(JobError, match="step 1"):
        meter.state()
