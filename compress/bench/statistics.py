"""What samples support: intervals of medians and ratios, percentiles, verdicts. Pure; draws come from a fixed seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtr, stdtrit

Floats = NDArray[np.float64]
Interval = tuple[float, float]

FASTER, SLOWER, SAME, UNSURE = "FASTER", "SLOWER", "SAME", "CANNOT TELL"
RESAMPLES = 2000
FEW = 6  # below this many rounds a bootstrap cannot reach 95 %: its widest interval is [min, max]
# Two processes of the same program differ by about this much for as long as they live (memory layout), and no number
# of rounds averages it away.
PROCESS_MARGIN = 0.02
SAME_MARGIN = 0.05
PRECISE = 0.02
PRECISE_RATIO = 0.01  # a verdict between 2 % and 5 % needs a ratio that is known better than the times themselves


def percentile_supported(share: float, count: int, confidence: float = 0.95) -> bool:
    """Whether `count` samples bound the percentile `share` (0.9) on both sides at this confidence (binomial)."""
    tail = (1 - confidence) / 2
    return share**count <= tail and (1 - share) ** count <= tail


def percentile(samples: Sequence[float], share: float) -> tuple[float, Interval] | None:
    """A percentile with its distribution-free interval from order statistics; None when unsupported."""
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    if not percentile_supported(share, len(ordered)):
        return None
    below = bdtr(np.arange(len(ordered)), len(ordered), share)  # P(at most k samples lie below the percentile)
    low = max(int(np.searchsorted(below, 0.025, side="right")) - 1, 0)
    high = min(int(np.searchsorted(below, 0.975, side="left")), len(ordered) - 1)
    return float(np.quantile(ordered, share)), (float(ordered[low]), float(ordered[high]))


def median_interval(rounds: Sequence[float]) -> Interval | None:
    """The 95 % interval of the median of positive round values; None for fewer than two rounds.

    Rounds, not single requests: requests of one round share the machine's mood and are not independent.
    """
    values = np.asarray(rounds, dtype=np.float64)
    if len(values) < 2:
        return None
    if len(values) < FEW:
        return _student_interval(np.log(values))
    return _percentiles(_resampled(values), len(values))


def paired_ratio(reference: Sequence[float], subject: Sequence[float]) -> float:
    """reference / subject as their interleaved rounds, paired by position, have it; at least one round is common.

    The mean of the middle half of the rounds' log ratios: drift that hits both sides of a round cancels in its ratio,
    a round that was disturbed on one side is cut off, and what remains is averaged, which wanders less than a median.
    """
    return float(np.exp(_middle(_log_ratios(reference, subject))))


def ratio_interval(reference: Sequence[float], subject: Sequence[float]) -> Interval | None:
    """The 95 % interval of `paired_ratio`, by bootstrap over rounds. None for fewer than two common rounds."""
    logs = _log_ratios(reference, subject)
    if len(logs) < 2:
        return None
    if len(logs) < FEW:
        return _student_interval(logs)
    low, high = _percentiles(_middle(logs[_draws(len(logs))]), len(logs))
    return math.exp(low), math.exp(high)


def verdict(interval: Interval | None) -> str:
    """FASTER, SLOWER, SAME or CANNOT TELL for the interval of reference time / subject time."""
    if interval is None:
        return UNSURE
    low, high = interval
    if low > 1 + PROCESS_MARGIN:
        return FASTER
    if high < 1 / (1 + PROCESS_MARGIN):
        return SLOWER
    if low >= 1 / (1 + SAME_MARGIN) and high <= 1 + SAME_MARGIN:
        return SAME
    return UNSURE


def relative_half_width(interval: Interval | None) -> float:
    """Half the width of an interval over its middle; infinite when there is none."""
    if interval is None:
        return math.inf
    low, high = interval
    return (high - low) / (high + low) if high + low > 0 else math.inf


def precise(rounds: Sequence[float], reference: Sequence[float] = ()) -> bool:
    """Whether the median is known within 2 % at 95 %, and its ratio to the reference within 1 % when one is given."""
    if relative_half_width(median_interval(rounds)) > PRECISE:
        return False
    return not len(reference) or relative_half_width(ratio_interval(reference, rounds)) <= PRECISE_RATIO


def bootstrap(score: Callable[[NDArray[np.int64]], float], rows: int, resamples: int = 1000) -> Floats:
    """`score` of `resamples` draws of row numbers with replacement. The draws depend only on the two counts.

    Subjects scored with the same counts are therefore paired draw by draw.
    """
    generator = np.random.default_rng([rows, resamples])
    return np.array([score(generator.integers(0, rows, rows)) for _ in range(resamples)], dtype=np.float64)


def interval_of(draws: Floats) -> Interval | None:
    """The middle 95 % of bootstrap draws; None when a draw is not a number (a ratio to zero)."""
    if not len(draws) or not np.isfinite(draws).all():
        return None
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _draws(count: int) -> NDArray[np.int64]:
    return np.random.default_rng(count).integers(0, count, (RESAMPLES, count))


def _log_ratios(reference: Sequence[float], subject: Sequence[float]) -> Floats:
    count = min(len(reference), len(subject))
    above, below = np.asarray(reference[:count], dtype=np.float64), np.asarray(subject[:count], dtype=np.float64)
    return np.log(above) - np.log(below)


def _middle(values: Floats) -> Floats:
    """The mean of the middle half over the last axis; all values where there are fewer than four."""
    count = values.shape[-1]
    cut = count // 4
    kept: Floats = np.sort(values, axis=-1)[..., cut : count - cut].mean(-1)
    return kept


def _resampled(values: Floats) -> Floats:
    medians: Floats = np.median(values[_draws(len(values))], axis=1)
    return medians


def _percentiles(draws: Floats, count: int) -> Interval:
    """Expanded percentiles (Hesterberg 2015, section 3.2): plain ones are too narrow for few rounds."""
    tail = float(ndtr(math.sqrt(count / (count - 1)) * stdtrit(count - 1, 0.025)))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _student_interval(logs: Floats) -> Interval:
    half = -float(stdtrit(len(logs) - 1, 0.025)) * float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    centre = float(np.mean(logs))
    return math.exp(min(centre - half, 700)), math.exp(min(centre + half, 700))
