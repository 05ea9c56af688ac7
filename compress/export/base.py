"""What an exporter is: an opened float student in, the same function in another format out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from compress.core.errors import JobError
from compress.core.options import Options
from compress.core.registry import Catalogue


class Exporter(Options):
    """Base of every export format. engine: the name of the runtime engine that runs it; file: what it writes."""

    engine: ClassVar[str]
    file: ClassVar[str]

    @abstractmethod
    def export(self, model: nn.Module, batches: Sequence[dict[str, Tensor]], longest: int, out: Path) -> dict[str, Any]:
        """Write the model into the folder `out` and return facts of its engine (`file`, `dtype`) for the manifest.

        model: gives `logits` (`one_output` sees to it). batches: inputs `[b, s]` int64 of several shapes, with padding
        (`trial_batches`); the first is traced, and before this returns the file has given the eager model's outputs on
        each. longest: most tokens the model takes.
        Raises JobError, with the difference, when an output differs.
        """


def refuse_difference(path: Path, difference: float, tolerance: float) -> None:
    """Raises JobError when a file's logits differ from the eager model's by more than the tolerance, or by NaN."""
    if not difference <= tolerance:
        raise JobError(
            f"{path}: its logits differ from the eager model's by {difference:.2e}, more than the tolerance of "
            f"{tolerance:.0e}; it is not kept"
        )


EXPORTERS: Catalogue[Exporter] = Catalogue("exporter", "exporters", ("compress.export",))
