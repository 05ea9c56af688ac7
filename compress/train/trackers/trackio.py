"""Trackio: a database on this machine, with a dashboard."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any, ClassVar

from pydantic import Field

from compress.train.trackers.base import TRACKERS, Run, Sink, Tracker


@TRACKERS.register("trackio")
class Trackio(Tracker):
    """A run in Trackio's local database; look at it with `trackio show`."""

    package: ClassVar[str] = "trackio"

    project: str = Field("stillroom", min_length=1, description="project that the run belongs to")

    def start(self, run: Run) -> Sink:
        """Open the run, or go on with the one of the same name and key."""
        library = self.library()
        with redirect_stdout(sys.stderr):  # it says where it writes; standard output is for results
            library.init(
                project=self.project,
                name=f"{run.name}-{run.key[:8]}",
                config=dict(run.options),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        return _Rows(library)


class _Rows:
    def __init__(self, library: Any) -> None:
        self.library = library

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One row of numbers."""
        self.library.log(dict(values), step=step)

    def close(self) -> None:
        """End the run."""
        with redirect_stdout(sys.stderr):
            self.library.finish()
