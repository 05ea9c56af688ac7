"""Weights & Biases."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from compress.train.trackers.base import TRACKERS, Run, Sink, Tracker

SERVER = "api.wandb.ai"


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
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read on import
        library = self.library()
        # The curves and nothing else: no statistics or facts of the machine, console, source or packages.
        settings = library.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        )
        opened = library.init(
            project=self.project,
            name=run.name,
            id=run.key[:16],
            resume="allow",
            mode=self._mode(),
            config=dict(run.options),
            settings=settings,
        )
        return _Run(opened)

    def _mode(self) -> str:
        if self.mode != "auto":
            return self.mode
        return os.environ.get("WANDB_MODE") or ("online" if _logged_in() else "offline")


def _logged_in() -> bool:
    """Whether `wandb login` was run here, or a key is in the environment; the key itself is left to wandb."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return SERVER in netrc.netrc(path).hosts
    except (OSError, netrc.NetrcParseError):
        return False


class _Run:
    def __init__(self, run: Any) -> None:
        self.run = run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One row of numbers."""
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        """End the run."""
        self.run.finish()
