"""Whether each subject runs within the memory limits that were asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from compress.bench.fits import fits
from compress.bench.probes.base import PROBES, Probe
from compress.core.sizes import bytes_of

if TYPE_CHECKING:
    from compress.bench.desk import Desk, Running


@PROBES.register("fits")
class Fits(Probe):
    """Runs each subject under every limit of the option `fits`, with the largest batch of corpus texts."""

    order: ClassVar[int] = 50

    def measure(self, desk: Desk) -> None:
        """One fresh process for each subject and limit; without limits nothing is run."""
        limits = sorted({bytes_of(text) for text in desk.options.fits})
        if not limits:
            return
        with desk.reporter.progress("memory limits", len(limits) * len(desk.alive())) as bar:
            for running in desk.alive():
                running.report["fits"] = []
                for limit in limits:
                    running.report["fits"].append(fits(desk, running, limit))
                    bar.advance(1, running.name)

    def missing(self, running: Running) -> None:
        """Nothing is known of a subject that failed."""
        running.report.setdefault("fits", [])
