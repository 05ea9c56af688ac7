"""regress: rows, loss and correlations."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from compress.core.errors import JobError
from tests.tasks.tools import task


def test_scores_are_numbers() -> None:
    """A score that came as text from a CSV is fine; NaN, infinity, words and truth values are not."""
    one = task("regress", target="y")
    assert one.normalise({"text": "a", "y": "2.5"}, {}) == {"text": "a", "score": 2.5}
    assert one.label_values({"text": "a", "y": 1}) == []
    for bad in (float("nan"), "inf", "high", None, True):
        with pytest.raises(ValueError, match="column 'y'"):
            one.normalise({"text": "a", "y": bad}, {})


def test_hard_loss_is_the_squared_error() -> None:
    """`[b, 1]` against `[b]` broadcasts to `[b, b]` when the axis is left in."""
    loss = task("regress").hard_loss(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0]), torch.tensor([True, True]))
    assert loss.item() == pytest.approx((1 + 4) / 2)


def test_correlations_by_hand() -> None:
    """Spearman reads order only, Pearson the values."""
    scores = task("regress").score(np.array([[1.0], [2.0], [9.0]]), np.array([0.0, 1.0, 2.0]), [])
    assert scores["spearman"] == pytest.approx(1.0)
    assert scores["pearson"] == pytest.approx(8 / np.sqrt(2 * 38), abs=1e-6)
    assert scores["mse"] == pytest.approx((1 + 1 + 49) / 3)


def test_constant_predictions_score_zero() -> None:
    """NaN compares false with everything, so that a dead student would pass a `worse than` check."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = task("regress").score(np.full((3, 1), 0.5), np.array([0.0, 1.0, 2.0]), [])
    assert scores["spearman"] == scores["pearson"] == 0.0
    with pytest.raises(JobError):
        task("regress").score(np.array([[np.nan]]), np.array([1.0]), [])


def test_nearly_equal_predictions_say_nothing_of_scipy() -> None:
    """A young student says nearly the same of every text, and a warning of the library stood in the user's terminal."""
    nearly = np.array([[1.0], [1.0], [1.0 + np.finfo(np.float64).eps]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = task("regress").score(nearly, np.array([0.0, 1.0, 2.0]), [])
    assert all(np.isfinite(value) for value in scores.values())
