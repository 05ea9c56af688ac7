"""TensorBoard: event files in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from compress.train.trackers.base import TRACKERS, Run, Sink, Tracker


@TRACKERS.register("tensorboard")
class TensorBoard(Tracker):
    """Event files in one folder for each run; look at them with `tensorboard --logdir FOLDER`."""

    package: ClassVar[str] = "tensorboard"

    folder: str = Field("runs/.tensorboard", min_length=1, description="folder that holds a folder for each run")

    def start(self, run: Run) -> Sink:
        """Open the run's folder; a run that goes on takes back what it had written past its checkpoint."""
        library = self.library("torch.utils.tensorboard")
        place = Path(self.folder) / f"{run.name}-{run.key[:8]}"
        return _Events(library.SummaryWriter(log_dir=str(place), purge_step=run.step + 1 if run.step else None))


class _Events:
    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One scalar for each number."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the event file."""
        self.writer.close()
