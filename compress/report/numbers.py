"""Numbers as text, with no more digits than their interval supports."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Measure = Mapping[str, Any] | None
Interval = Sequence[float] | None
SHARES = ("accuracy", "f1", "precision", "recall", "exact", "agreement", "top")
DASH = "–"
BLANK = "not measured"


def decimals(value: float, interval: Interval = None, figures: int = 3) -> int:
    """Decimals worth printing: down to the first digit of the interval's half width (the second, when the first is 1),
    or `figures` significant ones when there is no interval. Negative: round to tens, hundreds."""
    half = abs(interval[1] - interval[0]) / 2 if interval else 0.0
    if half > 0:
        lead = math.floor(math.log10(half))
        second = 1 if half / 10**lead < 1.995 else 0
        least = -math.floor(math.log10(abs(value))) if value else 0  # one digit of the value is shown, however noisy
        return min(6, max(second - lead, least))
    if value == 0 or not math.isfinite(value):
        return 0
    return max(0, figures - 1 - math.floor(math.log10(abs(value))))


def fixed(value: float, places: int) -> str:
    """A number with so many decimals, thousands set apart by a thin space."""
    return f"{round(value, places):,.{max(0, places)}f}".replace(",", "\u2009")


def value_of(measure: Measure) -> float | None:
    """The finite number in a measure, or None."""
    value = measure.get("value") if measure else None
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def interval_of(measure: Measure) -> tuple[float, float] | None:
    """The interval of a measure, or None."""
    found = measure.get("interval") if measure else None
    return (float(found[0]), float(found[1])) if found and None not in found else None


def spread_text(interval: Interval, scale: float, places: int) -> str:
    """`[lo, hi]` at the digits of the value."""
    return f"[{fixed(interval[0] * scale, places)}, {fixed(interval[1] * scale, places)}]" if interval else ""


def percent(measure: Measure, least: int = 1) -> tuple[str, str]:
    """A share as (text, interval): `("97.2 %", "[96.1, 98.0]")`. `least` decimals are always shown."""
    value, interval = value_of(measure), interval_of(measure)
    if value is None:
        return DASH, ""
    scaled = [bound * 100 for bound in interval] if interval else None
    places = max(least, decimals(value * 100, scaled)) if scaled else least
    return f"{fixed(value * 100, min(places, 3))} %", spread_text(interval, 100, min(places, 3))


def quality(measure: Measure, metric: str) -> tuple[str, str]:
    """A task metric: shares as percent, others (correlations, errors) as they are."""
    if is_share(metric):
        return percent(measure)
    return plain(measure)


def is_share(metric: str) -> bool:
    """Whether a metric is read as a percentage."""
    return any(word in metric.lower() for word in SHARES)


def plain(measure: Measure, unit: str = "", figures: int = 3) -> tuple[str, str]:
    """A number with its unit, and its interval."""
    value, interval = value_of(measure), interval_of(measure)
    if value is None:
        return DASH, ""
    places = decimals(value, interval, figures)
    return f"{fixed(value, places)}{f' {unit}' if unit else ''}", spread_text(interval, 1, places)


def milliseconds(measure: Measure) -> tuple[str, str]:
    """A latency in ms."""
    return plain(measure, "ms")


def per_second(measure: Measure) -> tuple[str, str]:
    """A throughput in texts per second."""
    text, spread = plain(measure)
    return (text if text == DASH else f"{text}/s"), spread


def scaled(measure: Measure, factor: float) -> dict[str, Any] | None:
    """A measure in another unit: value and interval times `factor`."""
    value, interval = value_of(measure), interval_of(measure)
    if measure is None or value is None:
        return None if measure is None else dict(measure)
    return {"value": value * factor, "interval": [bound * factor for bound in interval] if interval else None}


def seconds(measure: Measure) -> tuple[str, str]:
    """A duration in s, or in ms below a tenth of a second."""
    value = value_of(measure)
    return milliseconds(scaled(measure, 1000)) if value is not None and value < 0.1 else plain(measure, "s")


def joules(measure: Measure) -> tuple[str, str]:
    """An energy in J, or in mJ below a tenth of one."""
    value = value_of(measure)
    return plain(scaled(measure, 1000), "mJ") if value is not None and value < 0.1 else plain(measure, "J")


def points(measure: Measure, metric: str) -> tuple[str, str]:
    """A difference of a task metric: percentage points where the metric is a share, else as it is."""
    return plain(scaled(measure, 100) if is_share(metric) else measure, figures=2)


def p_value(value: float | None) -> str:
    """A p-value with the digits that anybody acts on."""
    if value is None:
        return DASH
    return "p < 0.001" if value < 0.001 else f"p = {fixed(value, 3 if value < 0.1 else 2)}"


def duration(value: float | None) -> str:
    """Seconds of work: `4.2 s`, `3 min 20 s`, `2 h 05 min`."""
    if value is None:
        return DASH
    if value < 60:
        return f"{fixed(value, 1)} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def bytes_text(value: float | None) -> str:
    """Bytes in decimal units, three significant digits."""
    if value is None:
        return DASH
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(value) >= size:
            return f"{fixed(value / size, decimals(value / size))} {unit}"
    return f"{value:.0f} B"


def size(measure: Measure) -> tuple[str, str]:
    """Bytes of a measure, with its interval in the same unit."""
    value, interval = value_of(measure), interval_of(measure)
    if value is None:
        return DASH, ""
    return bytes_text(value), f"[{bytes_text(interval[0])}, {bytes_text(interval[1])}]" if interval else ""


def count(value: float | None, unit: str = "") -> str:
    """A large number, of parameters or operations: `14.4 M`."""
    if value is None:
        return DASH
    for prefix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= scale:
            return f"{fixed(value / scale, decimals(value / scale))} {prefix}{unit}"
    return f"{value:.0f} {unit}".rstrip()


def times(value: float | None, interval: Interval = None) -> tuple[str, str]:
    """A ratio: `("12.1×", "[11.8, 12.4]")`."""
    if value is None:
        return DASH, ""
    places = max(0, decimals(value, interval)) if interval else decimals(value, figures=2 if value < 10 else 3)
    return f"{fixed(value, places)}×", spread_text(interval, 1, places)


def maybe(measure: Measure, render: Callable[[Measure], tuple[str, str]]) -> tuple[str, str]:
    """`render`, with the reason in place of an interval when there is no value."""
    if measure and value_of(measure) is None and measure.get("why"):
        return DASH, f"{BLANK}: {measure['why']}"
    return render(measure)
