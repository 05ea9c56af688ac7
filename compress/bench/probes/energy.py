"""How much energy an answer takes, where the machine has counters that can be read."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from compress.bench.isolation import RequestError
from compress.bench.launch import ask, warm_up
from compress.bench.measures import absent, measure
from compress.bench.power import Counter, counters
from compress.bench.probes.base import PROBES, Probe
from compress.bench.statistics import median_interval
from compress.bench.workload import stream

if TYPE_CHECKING:
    from compress.bench.desk import Desk, Running

UNIT = "J per text"
TEXTS = 1024


@PROBES.register("energy")
class Energy(Probe):
    """Joules per text at the batch size of the best throughput, in rounds interleaved across subjects.

    The counters are RAPL's (processor packages and their memory) and on CUDA also NVML's, which count the whole
    machine: what it draws while idle and what other programs draw is included. A part that cannot be read is named
    in `missing`.
    """

    order: ClassVar[int] = 36

    rounds: int = Field(5, ge=2, description="stretches of each subject")
    least: float = Field(0.5, gt=0, description="seconds of one stretch; the counters step every millisecond or more")

    def measure(self, desk: Desk) -> None:
        """Read the counters around stretches of batches; without counters nothing is run."""
        found, missing = counters(desk.device)
        on_gpu = any(counter.name == "gpu" for counter in found)
        if not found or (desk.device == "cuda" and not on_gpu):
            for running in desk.alive():
                running.report["energy"] = absent(UNIT, missing)
            return
        spent: dict[str, list[float]] = {}
        faults: dict[str, str] = {}
        sizes = {running.name: self._prepare(desk, running, faults) for running in desk.shuffled()}
        with desk.reporter.progress("energy", self.rounds) as bar:
            for turn in range(self.rounds):
                for running in desk.shuffled():
                    if running.name not in faults:
                        joules = self._round(desk, running, found, *sizes[running.name], turn, faults)
                        spent.setdefault(running.name, []).extend(joules)
                bar.advance(1, f"round {turn + 1}")
        for running in desk.alive():
            running.report["energy"] = _result(spent.get(running.name, []), faults.get(running.name, ""))
            running.report["energy"].update(sources=[counter.name for counter in found], missing=missing)

    def missing(self, running: Running) -> None:
        """No energy for a subject that failed."""
        running.report["energy"] = absent(UNIT, f"the subject {running.report['status']}")

    def _prepare(self, desk: Desk, running: Running, faults: dict[str, str]) -> tuple[int, int]:
        """The batch size, and how many batches fill a stretch."""
        batch = int((running.report.get("throughput") or {}).get("batch") or desk.options.batch_sizes[0])
        texts = stream(desk.inputs, max(TEXTS, batch), desk.chance)
        rows = [texts[at : at + batch] for at in range(0, len(texts) - batch + 1, batch)]
        with desk.watch(running):
            try:
                made = warm_up(desk, running, rows)
                return batch, int(min(max(self.least / max(made["per_request"], 1e-9), 1), len(rows)))
            except RequestError as error:
                faults[running.name] = str(error)
        return batch, 1

    def _round(
        self, desk: Desk, running: Running, found: list[Counter], batch: int, count: int, turn: int,
        faults: dict[str, str],
    ) -> list[float]:  # fmt: skip
        """Joules per text of one stretch, or nothing when it could not be run."""
        before = [counter.read() for counter in found]
        with desk.watch(running):
            try:
                made = ask(
                    desk, running, "timing:stream", 4 * self.least,
                    start=turn * count, count=count, seconds=self.least, settle=False,
                )  # fmt: skip
            except RequestError as error:
                faults[running.name] = str(error)
                return []
            joules = sum(counter.since(start) for counter, start in zip(found, before, strict=True))
            return [joules / (batch * made["requests"])]
        return []


def _result(spent: list[float], fault: str) -> dict[str, Any]:
    if fault or not spent:
        return absent(UNIT, fault or "it was not measured")
    return measure(median(spent), UNIT, median_interval(spent), len(spent), spent)
