"""Numbers that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from compress.bench.statistics import (
    FASTER,
    SAME,
    SLOWER,
    UNSURE,
    bootstrap,
    interval_of,
    median_interval,
    paired_ratio,
    percentile,
    percentile_supported,
    precise,
    ratio_interval,
    relative_half_width,
    verdict,
)


@pytest.mark.parametrize(("share", "fewest"), [(0.5, 6), (0.9, 36), (0.99, 368)])
def test_percentiles_need_the_samples_that_the_binomial_asks_for(share: float, fewest: int) -> None:
    """A p99 printed from twenty samples is their maximum under a grand name."""
    assert not percentile_supported(share, fewest - 1)
    assert percentile_supported(share, fewest)


def test_percentile_is_blank_when_unsupported_and_bounded_by_order_statistics_when_not() -> None:
    """A percentile must come with bounds that are samples, one on each side."""
    assert percentile(range(35), 0.9) is None
    found = percentile(range(1000), 0.9)
    assert found is not None
    value, (low, high) = found
    assert value == pytest.approx(899.1)
    # 1000 samples: 900 expected below, standard deviation 9.49.
    assert low == pytest.approx(900 - 1.96 * 9.49, abs=2) and high == pytest.approx(900 + 1.96 * 9.49, abs=2)


def test_two_rounds_give_the_student_interval_of_their_logarithms() -> None:
    """With few rounds a bootstrap cannot reach 95 % and would promise too much."""
    interval = median_interval([1.0, math.e])
    assert interval is not None
    half = 12.706 * np.std([0, 1], ddof=1) / math.sqrt(2)
    assert interval == pytest.approx((math.exp(0.5 - half), math.exp(0.5 + half)), rel=1e-3)


def test_one_round_has_no_interval() -> None:
    """One number says nothing about its own spread."""
    assert median_interval([1.0]) is None
    assert ratio_interval([1.0], [2.0]) is None
    assert verdict(None) == UNSURE
    assert relative_half_width(None) == math.inf


def test_ratio_of_equal_rounds_is_exact_whatever_the_drift() -> None:
    """Drift that hits reference and subject alike must cancel in the ratio."""
    reference = [10.0, 14.0, 11.0, 19.0, 12.0, 10.5, 13.0]
    interval = ratio_interval(reference, [value / 5 for value in reference])
    assert interval == pytest.approx((5.0, 5.0))


def test_the_ratio_is_that_of_the_undisturbed_rounds() -> None:
    """Four of twelve rounds with a neighbour on one side must not move the ratio, whichever side they hit."""
    reference = [10.0, 30.0, 11.0, 12.0, 10.0, 10.0, 13.0, 10.0, 40.0, 10.0, 11.0, 10.0]
    subject = [5.0, 5.0, 5.5, 6.0, 25.0, 5.0, 6.5, 5.0, 5.0, 15.0, 5.5, 5.0]
    assert paired_ratio(reference, subject) == pytest.approx(2.0)
    assert paired_ratio([6.0, 1.0], [2.0, 1.0]) == pytest.approx(math.sqrt(3)), "few rounds count whole"


@pytest.mark.parametrize("count", [5, 6, 12, 24])
def test_intervals_of_a_ratio_cover_it_as_often_as_they_say(count: int) -> None:
    """Rounds with a common drift and now and then a disturbance: 95 % must not be 80 %."""
    generator = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        drift = generator.normal(0, 0.1, count)
        logs = [drift + generator.normal(0, 0.02, count) + 0.1 * (generator.random(count) < 0.1) for _ in range(2)]
        interval = ratio_interval(np.exp(logs[0] + 0.05).tolist(), np.exp(logs[1]).tolist())
        assert interval is not None
        held += interval[0] <= math.exp(0.05) <= interval[1]
    assert held >= 200 * 0.92


def test_drift_that_cancels_in_the_ratio_still_keeps_the_median_unknown() -> None:
    """A p50 printed with three digits while the machine drifts by 20 % would be a number of one moment."""
    drifting = [10.0, 10.5, 11.0, 11.5, 12.0, 12.5]
    assert not precise([value / 5 for value in drifting], drifting)
    assert not precise(drifting)
    assert precise([10.0, 10.01, 9.99, 10.0, 10.02, 9.98], [20.0] * 6)


@pytest.mark.parametrize("count", [5, 6, 10])
def test_intervals_of_the_median_cover_it_as_often_as_they_say(count: int) -> None:
    """An interval that is called 95 % and holds in 80 % of cases makes false verdicts."""
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        interval = median_interval(np.exp(generator.normal(0, 0.05, count)).tolist())
        assert interval is not None
        held += interval[0] <= 1 <= interval[1]
    assert held >= 200 * 0.92


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((1.5, 2.0), FASTER),
        ((0.5, 0.9), SLOWER),
        ((0.99, 1.015), SAME),
        ((0.9, 1.2), UNSURE),
        ((1.005, 1.015), SAME),
        ((1.01, 1.2), UNSURE),
    ],
)
def test_verdicts(interval: tuple[float, float], said: str) -> None:
    """A verdict must be withheld when the interval allows two of them."""
    assert verdict(interval) == said


def test_bootstrap_draws_are_the_same_rows_for_every_subject() -> None:
    """Unpaired draws would make the interval of `retained` far too wide."""
    values = np.array([0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    one = bootstrap(lambda rows: float(values[rows].mean()), 8, 50)
    two = bootstrap(lambda rows: float(2 * values[rows].mean()), 8, 50)
    assert np.array_equal(two, 2 * one)
    assert interval_of(np.array([1.0, math.nan])) is None


def test_bootstrap_interval_of_an_accuracy_is_the_binomial_one() -> None:
    """The quality interval must have the width that the number of rows allows."""
    correct = np.array([1.0] * 900 + [0.0] * 100)
    interval = interval_of(bootstrap(lambda rows: float(correct[rows].mean()), 1000, 1000))
    assert interval is not None
    half = 1.96 * math.sqrt(0.9 * 0.1 / 1000)
    assert interval == pytest.approx((0.9 - half, 0.9 + half), abs=0.003)
