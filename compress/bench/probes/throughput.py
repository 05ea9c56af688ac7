"""How many texts a subject answers in a second when nobody waits for one of them, at its best batch size."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from compress.bench.isolation import RequestError, speaks_of_memory
from compress.bench.launch import ask, warm_up
from compress.bench.measures import absent, measure
from compress.bench.probes.base import PROBES, Probe
from compress.bench.statistics import UNSURE, median_interval, paired_ratio, precise, ratio_interval, verdict
from compress.bench.workload import stream

if TYPE_CHECKING:
    from compress.bench.desk import Desk, Running

UNIT = "per s"
RISE = 1.05
PATIENCE = 2  # one batch size may fall back by chance or by its padding; two in a row have passed the top
SWEEP_ROUNDS, FEWEST_ROUNDS, ROUNDS_TO_STOP = 3, 3, 6
TEXTS = 2048
TURNS = 10


@dataclass
class Search:
    """What is known of one subject. rates: texts per second, round by round, by batch size. ended: why it stopped."""

    rates: dict[int, list[float]] = field(default_factory=dict)
    per_request: dict[int, float] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    ended: str = ""
    chosen: list[float] = field(default_factory=list)

    @property
    def best(self) -> int | None:
        """The batch size of the highest rate so far."""
        rates = {batch: median(found) for batch, found in self.rates.items() if found and batch not in self.faults}
        return max(rates, key=lambda batch: rates[batch]) if rates else None

    def stale(self) -> bool:
        """Whether the last batch sizes did not raise the best rate before them by 5 %."""
        rates = [median(found) for found in self.rates.values() if found]
        earlier = rates[:-PATIENCE]
        return bool(earlier) and max(rates[-PATIENCE:]) < RISE * max(earlier)


@PROBES.register("throughput")
class Throughput(Probe):
    """Sustained texts per second at the best batch size, and the ratio to the reference at its own best.

    Batches of corpus texts are answered back to back, from text to answer; the batch doubles until the rate stops
    rising by 5 %, or until memory or the model refuses. Every stretch of texts has the corpus's length mix; each batch
    is padded to its longest text. The rate at the best batch is then measured anew, because the highest of many noisy
    rates is too high. Rounds of all subjects are interleaved in random order.
    """

    order: ClassVar[int] = 35

    largest: int = Field(256, ge=1, le=TEXTS, description="the largest batch that is tried")
    slowest: float = Field(2.0, gt=0, description="seconds of one batch beyond which no larger one is tried")

    def measure(self, desk: Desk) -> None:
        """Search for every subject's best batch, then measure there."""
        texts = stream(desk.inputs, TEXTS, desk.chance)
        searches = {running.name: Search() for running in desk.alive()}
        sizes = [2**power for power in range(self.largest.bit_length()) if 2**power <= self.largest]
        with desk.reporter.progress("throughput", len(sizes) + 1) as bar:
            for batch in sizes:
                self._try(desk, searches, texts, batch)
                bar.advance(1, f"batch {batch}")
            _measure_best(desk, searches, texts)
            bar.advance(1, "best batches")
        for running in desk.alive():
            running.report["throughput"] = result(searches, running.name, desk.reference.name)

    def missing(self, running: Running) -> None:
        """No rate for a subject that failed."""
        running.report["throughput"] = _blank(f"the subject {running.report['status']}")

    def _try(self, desk: Desk, searches: dict[str, Search], texts: list[int], batch: int) -> None:
        tried = [running for running in desk.shuffled() if not searches[running.name].ended]
        for running in tried:
            searches[running.name].rates[batch] = []
            prepare(desk, running, searches[running.name], texts, batch)
        for turn in range(SWEEP_ROUNDS):
            for running in desk.chance.sample(tried, len(tried)):
                search = searches[running.name]
                if running.ok and batch not in search.faults:
                    one_round(desk, running, search, batch, turn, search.rates[batch])
        for running in tried:
            _judge(searches[running.name], batch, self)


def _judge(search: Search, batch: int, options: Throughput) -> None:
    if batch in search.faults:
        search.rates.pop(batch, None)
        search.ended = "out of memory" if speaks_of_memory(search.faults[batch]) else "refused"
    elif search.stale():
        search.ended = "the rate stopped rising"
    elif search.per_request.get(batch, 0.0) > options.slowest:
        search.ended = f"one batch takes more than {options.slowest:g} s"
    elif 2 * batch > options.largest:
        search.ended = f"{options.largest} is the largest batch asked for"


def prepare(desk: Desk, running: Running, search: Search, texts: list[int], batch: int) -> None:
    """Give the subject its batches and let it warm up; a refusal is noted in `search`."""
    rows = [texts[at : at + batch] for at in range(0, len(texts) - batch + 1, batch)]
    with desk.watch(running):
        try:
            made = warm_up(desk, running, rows)
        except RequestError as error:
            search.faults[batch] = str(error)
            return
        search.per_request[batch] = made["per_request"]


def one_round(desk: Desk, running: Running, search: Search, batch: int, turn: int, rates: list[float]) -> None:
    """One stretch of batches without a pause; its rate goes to `rates`, a refusal to `search`."""
    block = desk.options.seconds / (desk.options.rounds or TURNS)
    usual = search.per_request[batch]
    count = int(min(max(block / usual, 1), TEXTS // batch)) if usual > 0 else 1
    with desk.watch(running):
        try:
            allow = block + 3 * count * usual
            made = ask(desk, running, "timing:stream", allow, start=turn * count, count=count, seconds=block)
        except RequestError as error:
            search.faults[batch] = str(error)
            return
        rates.append(batch * made["requests"] / made["seconds"])


def _measure_best(desk: Desk, searches: dict[str, Search], texts: list[int]) -> None:
    chosen: dict[str, int] = {}
    for running in desk.shuffled():
        best = searches[running.name].best
        if best is not None:
            prepare(desk, running, searches[running.name], texts, best)
            chosen[running.name] = best
    for turn in range(desk.options.rounds or TURNS):
        living = [running for running in desk.shuffled() if running.name in chosen]
        for running in living:
            search, batch = searches[running.name], chosen[running.name]
            if batch not in search.faults:
                one_round(desk, running, search, batch, turn, search.chosen)
                if batch in search.faults:
                    search.chosen.clear()
        if _settled(desk, searches, [running.name for running in living], turn + 1, chosen):
            return


def _settled(desk: Desk, searches: dict[str, Search], names: list[str], done: int, chosen: dict[str, int]) -> bool:
    spent = max((done * searches[name].per_request[chosen[name]] for name in names), default=0.0)
    if done >= FEWEST_ROUNDS and spent >= desk.options.seconds:
        return True
    reference = searches[desk.reference.name].chosen if desk.reference.name in searches else []
    return done >= ROUNDS_TO_STOP and all(
        precise(searches[name].chosen, [] if name == desk.reference.name else reference)
        for name in names
        if chosen[name] not in searches[name].faults
    )


def result(searches: dict[str, Search], name: str, reference: str) -> dict[str, Any]:
    """A subject's `throughput`, from what its search and the reference's found."""
    search = searches[name]
    if not search.chosen:
        why = next(iter(search.faults.values()), "it was not measured")
        return {**_blank(why), "sweep": _sweep(search)}
    return {
        "batch": search.best,
        "rate": measure(median(search.chosen), UNIT, median_interval(search.chosen), len(search.chosen), search.chosen),
        "ratio": ratio_of(search, searches.get(reference), name == reference),
        "ended": search.ended,
        "sweep": _sweep(search),
    }


def ratio_of(search: Search, reference: Search | None, same: bool) -> dict[str, Any]:
    """This rate / the reference's, each at its best batch, with interval and verdict; over 1 is faster."""
    if same:
        return {"value": 1.0, "interval": None, "verdict": "REFERENCE"}
    if reference is None or not reference.chosen:
        return {"value": None, "interval": None, "verdict": UNSURE, "why": "the reference was not measured"}
    value = paired_ratio(search.chosen, reference.chosen)
    interval = ratio_interval(search.chosen, reference.chosen)
    shown = None if interval is None else [float(f"{bound:.6g}") for bound in interval]
    return {"value": float(f"{value:.6g}"), "interval": shown, "verdict": verdict(interval)}


def _sweep(search: Search) -> list[dict[str, Any]]:
    lines = [
        {"batch": batch, "rate": measure(median(rates), UNIT, median_interval(rates), len(rates))}
        for batch, rates in search.rates.items()
        if rates
    ]
    return lines + [{"batch": batch, "rate": absent(UNIT, why)} for batch, why in search.faults.items()]


def _blank(why: str) -> dict[str, Any]:
    ratio = {"value": None, "interval": None, "verdict": UNSURE, "why": why}
    return {"batch": None, "rate": absent(UNIT, why), "ratio": ratio, "ended": why, "sweep": []}
