"""Messages and exit codes."""

from __future__ import annotations

from compress.core.errors import Fault, FaultsError, InputError, JobError, did_you_mean


def test_exit_codes() -> None:
    """Scripts tell a wrong input from a failed job by the exit code."""
    assert (InputError("x").exit_code, JobError("x").exit_code, FaultsError([]).exit_code) == (2, 1, 2)


def test_faults_are_listed_one_per_line_with_their_place() -> None:
    """A list of faults on one line cannot be clicked."""
    error = FaultsError([Fault("steps.a", "is bad", "r.yaml:3"), Fault("", "is worse")], "2 faults")
    assert str(error).split("\n") == ["2 faults", "r.yaml:3: steps.a: is bad", "is worse"]


def test_did_you_mean() -> None:
    """A far-fetched guess is worse than none."""
    assert did_you_mean("layerz", ["layers", "map"]) == '; did you mean "layers"?'
    assert did_you_mean("zebra", ["layers", "map"]) == ""
