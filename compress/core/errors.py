"""Errors that say what was expected, what came, and what to do.

Exit codes: 0 done, 1 the job failed (`JobError`), 2 the input is wrong (`InputError`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class StillroomError(Exception):
    """Base of every error that is shown to a user as one message, without a traceback."""

    exit_code = 1


class InputError(StillroomError):
    """Something the user gave is wrong: a recipe, a file, a folder, a flag."""

    exit_code = 2


class JobError(StillroomError):
    """The input was fine and the job still failed, such as a loss that became NaN."""

    exit_code = 1


@dataclass(frozen=True)
class Fault:
    """One fault in a recipe. `path` is the dotted place (`steps.student.distill.epochs`), `where` is file:line."""

    path: str
    message: str
    where: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"


class FaultsError(InputError):
    """Every fault found at once, so that a user mends a recipe in one go."""

    def __init__(self, faults: Sequence[Fault], title: str = "") -> None:
        self.faults = list(faults)
        lines = [str(fault) for fault in self.faults]
        super().__init__("\n".join([title, *lines] if title else lines))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The closest known word as a phrase (`; did you mean "layers"?`), or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""
