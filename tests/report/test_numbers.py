"""Numbers as text."""

from __future__ import annotations

import pytest

from compress.report import numbers


@pytest.mark.parametrize(
    ("value", "interval", "shown"),
    [
        (97.234, (96.1, 98.3), "97.2"),
        (139.4, (110.0, 170.0), "140"),
        (139.4, (136.0, 142.0), "139"),
        (2.6137, (2.60, 2.63), "2.614"),
        (2.6137, (2.4, 2.8), "2.6"),
        (1234.5, None, "1\u2009234"),
        (0.04567, None, "0.0457"),
        (0.0, None, "0"),
        (2.6, (0.1, 400.0), "3"),
    ],
)
def test_digits_follow_the_noise(value: float, interval: tuple[float, float] | None, shown: str) -> None:
    """Digits that the interval does not support would suggest a precision that was not measured."""
    assert numbers.plain({"value": value, "interval": interval})[0] == shown


def test_percent_keeps_one_decimal_and_its_interval() -> None:
    """A drop of 0.3 points must be visible, whatever the interval of a single score."""
    assert numbers.percent({"value": 0.9024, "interval": [0.883, 0.921]}) == ("90.2 %", "[88.3, 92.1]")


def test_missing_numbers_are_a_dash_with_their_reason() -> None:
    """A percentile that the sample count does not support must not be printed as 0 or as nan."""
    absent = {"value": None, "unit": "ms", "why": "12 samples do not bound a 90th percentile"}
    assert numbers.milliseconds(absent) == ("–", "")
    assert numbers.maybe(absent, numbers.milliseconds)[1] == "not measured: 12 samples do not bound a 90th percentile"
    assert numbers.value_of({"value": float("nan")}) is None


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (512, "512 B"), (15_900_000, "15.9 MB"), (1_200_000_000, "1.20 GB")]
)
def test_bytes(value: float | None, shown: str) -> None:
    """Sizes in mixed units cannot be compared at a glance."""
    assert numbers.bytes_text(value) == shown


def test_durations_and_counts() -> None:
    """A lineage that says 7203.4 s is not readable."""
    assert [numbers.duration(value) for value in (4.21, 83.2, 7203.4)] == ["4.2 s", "1 min 23 s", "2 h 00 min"]
    assert numbers.count(14_360_000) == "14.4 M"
    assert numbers.times(12.04, (11.6, 12.5)) == ("12.0×", "[11.6, 12.5]")


@pytest.mark.parametrize(("value", "shown"), [(0.0312, "p = 0.031"), (0.4, "p = 0.40"), (2e-5, "p < 0.001")])
def test_p_values(value: float, shown: str) -> None:
    """p = 0.0000 would claim certainty."""
    assert numbers.p_value(value) == shown


def test_drops_are_told_in_points_of_the_metric() -> None:
    """A drop of 0.02 of a correlation is not two percent; of an accuracy it is two points."""
    drop = {"value": 0.0213, "interval": [0.0117, 0.0309]}
    assert numbers.points(drop, "accuracy") == ("2.1", "[1.2, 3.1]")
    assert numbers.points(drop, "spearman") == ("0.021", "[0.012, 0.031]")
    assert numbers.joules({"value": 0.0123, "interval": None}) == ("12.3 mJ", "")
