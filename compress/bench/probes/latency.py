"""How long requests take: the corpus's own texts, and a grid of batch sizes and lengths."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

from compress.bench.isolation import RequestError
from compress.bench.launch import ask, renew, warm_up
from compress.bench.measures import absent, measure
from compress.bench.probes.base import PROBES, Probe
from compress.bench.statistics import (
    UNSURE,
    median_interval,
    paired_ratio,
    percentile,
    percentile_supported,
    precise,
    ratio_interval,
    verdict,
)
from compress.bench.workload import MOST_REQUESTS, corpus_requests, grid_requests
from compress.core.reporter import Progress

if TYPE_CHECKING:
    from compress.bench.desk import Desk, Running

FEWEST_ROUNDS, ROUNDS_TO_STOP = 3, 6
FEWEST_SAMPLES = 6  # fewer do not bound a median at 95 % (binomial)
MOST_PER_ROUND = 64
# Subjects that are compared within 25 ms see the same moment of the machine: cutting two seconds for requests of 6 ms
# into 70 blocks in place of 10 halved the spread of a ratio over repetitions. A block of fewer than four requests has
# no median that shrugs off one that was interrupted.
FEWEST_BLOCKS, MOST_BLOCKS, CALLS_PER_BLOCK = 20, 100, 4
GRID_REQUESTS = 4
STEPS_OF_BAR = 10


@dataclass
class Cell:
    """One combination of mix, batch and length, and each subject's durations in seconds, round by round.

    on_device: the same requests by the events of a CUDA device; empty on the CPU. rows: the texts of each request;
    done: rounds so far; by_process: those of each process that has finished.
    """

    mix: str
    batch: int
    length: int | None
    rounds: dict[str, list[list[float]]] = field(default_factory=dict)
    per_request: dict[str, float] = field(default_factory=dict)
    padding: dict[str, float] = field(default_factory=dict)
    on_device: dict[str, list[list[float]]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    rows: list[list[int]] = field(default_factory=list)
    requests: int = 0
    asked: int = 0
    done: int = 0
    by_process: list[int] = field(default_factory=list)

    @property
    def label(self) -> str:
        """`corpus, batch 8` or `8 x 64 tokens`."""
        return f"corpus, batch {self.batch}" if self.length is None else f"{self.batch} x {self.length} tokens"

    def medians(self, name: str) -> list[float]:
        """The median of each round of one subject, in seconds."""
        return [median(durations) for durations in self.rounds.get(name, [])]


@PROBES.register("latency")
class Latency(Probe):
    """Request latency p50 and p90, throughput and the ratio to the reference, in rounds interleaved across subjects.

    The rounds are shared out among several processes of each subject (Kalibera and Jones 2013, "Rigorous benchmarking
    in reasonable time"): how a process lies in memory makes it a few per cent faster or slower for as long as it lives.

    `mix: corpus` times `predict` from text to answer on the corpus's own texts with their padding; `mix: grid` times
    the engine alone on ids made before, from corpus text joined and cut to the exact length. Rounds of all subjects
    take the same requests in random subject order, so that drift of the machine hits all alike. On CUDA every request
    starts and ends with an idle device, and `device_p50` is what of the p50 lies between its first kernel and its last.
    """

    order: ClassVar[int] = 30

    def measure(self, desk: Desk) -> None:
        """Measure cell after cell; a cell that a subject cannot serve is blank for it, with the reason."""
        cells = cells_of(desk)
        for running in desk.running:
            running.report["latency"] = []
        began, worked = time.perf_counter(), time.process_time()
        with desk.reporter.progress("latency", len(cells) * desk.options.processes * STEPS_OF_BAR) as bar:
            for process in range(desk.options.processes):
                if process:
                    renew(desk)
                for cell in cells:
                    self._cell(desk, cell, process, bar)
        for running in desk.alive():
            running.report["latency"] = [result(cell, running.name, desk.reference.name) for cell in cells]
        share = (time.process_time() - worked) / max(time.perf_counter() - began, 1e-9)
        desk.harness["parent_cpu_share"] = round(share, 5)

    def missing(self, running: Running) -> None:
        """No latency for a subject that failed."""
        running.report.setdefault("latency", [])

    def _cell(self, desk: Desk, cell: Cell, process: int, bar: Progress) -> None:
        """The rounds of one cell in one process of each subject, which is as far as its share of the time goes."""
        self._prepare(desk, cell)
        slowest = max(cell.per_request.values(), default=0.0)
        block = block_seconds(desk.options.seconds, desk.options.rounds, slowest)
        planned = desk.options.seconds / block / desk.options.processes
        count = int(min(max(block / slowest, 1), MOST_PER_ROUND, cell.requests)) if slowest else 1
        goal = Goal(desk, cell, (process + 1) / desk.options.processes)
        done = shown = 0
        # The bootstrap must not become work that is done beside the timing.
        stride = max(int(planned * desk.options.processes / FEWEST_BLOCKS), 1)
        while cell.per_request and (done % stride or not goal.reached(done)):
            for running in desk.shuffled():
                if running.name in cell.per_request:
                    with desk.watch(running):
                        _round(desk, running, cell, cell.done * count, count, block)
            done += 1
            cell.done += 1
            cell.asked = min(cell.done * count, cell.requests)
            reached = min(int(STEPS_OF_BAR * done / planned), STEPS_OF_BAR)
            bar.advance(reached - shown, cell.label)
            shown = reached
        cell.by_process.append(done)
        bar.advance(STEPS_OF_BAR - shown, cell.label)

    def _prepare(self, desk: Desk, cell: Cell) -> None:
        """Have every subject warm up, but those that refused the cell in an earlier process."""
        rows = cell.rows or self._rows(desk, cell)
        cell.rows, cell.requests, cell.per_request = rows, len(rows), {}
        for running in desk.shuffled():
            if running.name in cell.faults:
                continue
            with desk.watch(running):
                try:
                    made = warm_up(desk, running, rows, cell.mix, cell.length)
                except RequestError as error:
                    _refused(cell, running.name, error)
                    continue
                cell.per_request[running.name] = made["per_request"]
                cell.padding[running.name] = made["padding_share"]

    def _rows(self, desk: Desk, cell: Cell) -> list[list[int]]:
        if cell.mix == "corpus":
            count = MOST_REQUESTS if cell.batch == 1 else MOST_PER_ROUND
            return corpus_requests(desk.inputs, cell.batch, count, desk.chance)
        return grid_requests(len(desk.inputs), cell.batch, GRID_REQUESTS, desk.chance)


@dataclass(frozen=True)
class Goal:
    """When a cell has enough rounds in the processes so far. share: of its time, up to the end of this process."""

    desk: Desk
    cell: Cell
    share: float

    def reached(self, done: int) -> bool:
        """After `done` rounds in this process: the time is spent, or the numbers are known well enough.

        Every process gives as many rounds as the first, so that none counts for more, unless its time is up.
        """
        cell, seconds = self.cell, self.desk.options.seconds * self.share
        names = [running.name for running in self.desk.alive() if running.name in cell.per_request]
        if not names:
            return True
        if done < 1 or cell.done < FEWEST_ROUNDS * self.share:
            return False
        spent = max(sum(map(sum, cell.rounds.get(name, []))) for name in names)
        samples = min(sum(map(len, cell.rounds.get(name, []))) for name in names)
        if spent >= seconds and samples >= FEWEST_SAMPLES * self.share:
            return True
        least = cell.by_process[0] if cell.by_process else ROUNDS_TO_STOP
        return done >= least and all(_precise(cell, name, self.desk.reference.name) for name in names)


def block_seconds(seconds: float, rounds: int | None, slowest: float) -> float:
    """Seconds of one block of `seconds` per cell and subject, where a request of the slowest takes `slowest`."""
    if rounds is not None:
        return seconds / rounds
    return min(max(CALLS_PER_BLOCK * slowest, seconds / MOST_BLOCKS), seconds / FEWEST_BLOCKS)


def cells_of(desk: Desk) -> list[Cell]:
    """The corpus mix at every batch size, then the grid, with lengths cut to what every living subject takes."""
    longest = min((running.opened["max_length"] for running in desk.alive()), default=0)
    lengths = sorted({min(length, longest) for length in desk.options.lengths})
    corpus = [Cell("corpus", batch, None) for batch in desk.options.batch_sizes]
    return corpus + [Cell("grid", batch, length) for batch in desk.options.batch_sizes for length in lengths]


def result(cell: Cell, name: str, reference: str) -> dict[str, Any]:
    """One line of a subject's `latency`, from the durations of its cell."""
    line: dict[str, Any] = {"mix": cell.mix, "batch": cell.batch, "length": cell.length}
    durations = [second for one in cell.rounds.get(name, []) for second in one]
    if not durations:
        why = cell.faults.get(name, "it was not measured")
        ratio = {"value": None, "interval": None, "verdict": UNSURE, "why": why}
        return {**line, "p50": absent("ms", why), "p90": absent("ms", why), "throughput": absent("per s", why),
                "padding_share": None, "ratio": ratio}  # fmt: skip
    medians, on_device = cell.medians(name), cell.on_device.get(name, [])
    return {
        **line,
        **({"device_p50": _on_device(on_device)} if on_device else {}),
        "p50": measure(median(durations) * 1e3, "ms", _scaled(median_interval(medians), 1e3), len(durations),
                       [second * 1e3 for second in durations]),
        "p90": _ninety(durations, cell.asked if cell.mix == "corpus" else None),
        "throughput": _throughput(cell, name),
        "padding_share": round(cell.padding[name], 4),
        "rounds": [float(f"{value * 1e3:.6g}") for value in medians],
        "ratio": ratio_of(cell, name, reference),
    }  # fmt: skip


def ratio_of(cell: Cell, name: str, reference: str) -> dict[str, Any]:
    """Reference time / this time, round by round, with interval and verdict; over 1 is faster."""
    if not cell.rounds.get(reference):
        why = cell.faults.get(reference, "the reference was not measured")
        return {"value": None, "interval": None, "verdict": UNSURE, "why": why}
    if name == reference:
        return {"value": 1.0, "interval": None, "verdict": "REFERENCE"}
    value = paired_ratio(cell.medians(reference), cell.medians(name))
    interval = ratio_interval(cell.medians(reference), cell.medians(name))
    shown = None if interval is None else [float(f"{bound:.6g}") for bound in interval]
    return {"value": float(f"{value:.6g}"), "interval": shown, "verdict": verdict(interval)}


def _round(desk: Desk, running: Running, cell: Cell, start: int, count: int, seconds: float) -> None:
    allow = seconds + 3 * count * cell.per_request[running.name]
    try:
        made = ask(desk, running, "timing:block", allow, start=start, count=count, seconds=seconds)
    except RequestError as error:
        _refused(cell, running.name, error)
        return
    cell.rounds.setdefault(running.name, []).append(made["durations"])
    if "device" in made:
        cell.on_device.setdefault(running.name, []).append(made["device"])


def _refused(cell: Cell, name: str, error: RequestError) -> None:
    """The cell is blank for this subject, with what it has measured of it so far."""
    cell.faults[name] = str(error)
    cell.per_request.pop(name, None)
    cell.rounds.pop(name, None)
    cell.on_device.pop(name, None)


def _on_device(rounds: list[list[float]]) -> dict[str, Any]:
    """Median of the seconds between the first kernel and the last."""
    seconds = [second for one in rounds for second in one]
    interval = _scaled(median_interval([median(one) for one in rounds]), 1e3)
    return measure(median(seconds) * 1e3, "ms", interval, len(seconds))


def _precise(cell: Cell, name: str, reference: str) -> bool:
    return precise(cell.medians(name), [] if name == reference else cell.medians(reference))


def _ninety(durations: list[float], texts: int | None) -> dict[str, Any]:
    found = percentile(durations, 0.9)
    if found is None or (texts is not None and not percentile_supported(0.9, texts)):
        have = f"{len(durations)} samples" if found is None else f"{texts} different requests"
        return absent("ms", f"{have} do not bound a 90th percentile")
    value, interval = found
    return measure(value * 1e3, "ms", _scaled(interval, 1e3), len(durations))


def _throughput(cell: Cell, name: str) -> dict[str, Any]:
    rounds = cell.rounds[name]
    rates = [cell.batch * len(one) / sum(one) for one in rounds]
    total = cell.batch * sum(map(len, rounds)) / sum(map(sum, rounds))
    return measure(total, "per s", median_interval(rates), len(rates))


def _scaled(interval: tuple[float, float] | None, factor: float) -> tuple[float, float] | None:
    return None if interval is None else (interval[0] * factor, interval[1] * factor)
