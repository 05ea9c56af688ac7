"""Trackio: a database on this machine, with a dashboard."""

from __future__ import annotations

from collections.abc import Mapping
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
        library.init(
            project=self.project,
            name=f"{run.name}-{run.key[:8]}",
            config=dict(run.options),
            resume="allow",
            embed=False,
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
        self.library.finish()
