"""Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from compress.train.trackers.base import TRACKERS, Run, Sink, Tracker


@TRACKERS.register("wandb")
class WandB(Tracker):
    """A run in Weights & Biases; kept on this machine unless somebody is logged in (`wandb sync` sends it later)."""

    package: ClassVar[str] = "wandb"

    project: str = Field("stillroom", min_length=1, description="project that the run belongs to")
    mode: Literal["auto", "online", "offline"] = Field(
        "auto", description="auto is online when this machine is logged in (or WANDB_MODE says so), else offline"
    )

    def start(self, run: Run) -> Sink:
        """Open the run, or go on with it under the same id."""
        library = self.library()
        # Nothing of the machine is sent (no system statistics, no console, no source), and nothing is printed.
        settings = library.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True)
        opened = library.init(
            project=self.project,
            name=run.name,
            id=run.key[:16],
            resume="allow",
            mode=self._mode(library),
            config=dict(run.options),
            settings=settings,
        )
        return _Run(opened)

    def _mode(self, library: Any) -> str:
        if self.mode != "auto":
            return self.mode
        return os.environ.get("WANDB_MODE") or ("online" if library.api.api_key else "offline")


class _Run:
    def __init__(self, run: Any) -> None:
        self.run = run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One row of numbers."""
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        """End the run."""
        self.run.finish()
