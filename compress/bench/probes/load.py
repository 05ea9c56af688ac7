"""How long loading takes, the first answer after it, and a whole start from nothing."""

from __future__ import annotations

import json
import time
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from compress.bench.isolation import RequestError, SubjectError
from compress.bench.launch import STARTING, importing, loading, worker
from compress.bench.measures import absent, measure
from compress.bench.probes.base import PROBES, Probe
from compress.bench.statistics import median_interval

if TYPE_CHECKING:
    from compress.bench.desk import Desk, Running

Starts = dict[str, list[dict[str, float]]]


@PROBES.register("load")
class Load(Probe):
    """Seconds of loading and of the first answer in the measured process, and of cold starts in processes of their own.

    `cold_start` runs from the start of a fresh process to its first answer to one corpus text, `baseline_start` is the
    interpreter's and the imports' part of it. Starts of all subjects are interleaved in random order. The files are in
    the page cache by then, as they are when an app restarts. `load` and `first_call` are one sample each and therefore
    have no interval.
    """

    order: ClassVar[int] = 10

    starts: int = Field(5, ge=0, description="cold starts of each subject; 0 for none")

    def at_start(self, desk: Desk, running: Running) -> None:
        """Note the load time and ask for the first answer."""
        first = running.call("timing:first", row=0)
        running.report["load"] = {
            "load": measure(running.opened["seconds"], "s"),
            "first_call": measure(first["seconds"], "s"),
            **_no_starts("no cold starts were asked for"),
        }

    def measure(self, desk: Desk) -> None:
        """Start every subject afresh, some times over. A start that fails leaves its measure blank, nothing else."""
        text = desk.work / "text.json"
        text.write_text(json.dumps(desk.inputs[0], ensure_ascii=False), encoding="utf-8")
        found: Starts = {}
        faults: dict[str, str] = {}
        with desk.reporter.progress("cold starts", self.starts * len(desk.alive())) as bar:
            for _ in range(self.starts):
                for running in desk.shuffled():
                    if running.name not in faults:
                        try:
                            found.setdefault(running.name, []).append(cold_start(desk, running, str(text)))
                        except (SubjectError, RequestError) as error:
                            faults[running.name] = str(error)
                    bar.advance(1, running.name)
        for running in desk.alive():
            if running.name in faults:
                running.report["load"].update(_no_starts(faults[running.name]))
            elif running.name in found:
                running.report["load"].update(starts_of(found[running.name]))

    def missing(self, running: Running) -> None:
        """No load time for a subject that failed."""
        why = f"the subject {running.report['status']}"
        running.report["load"] = {"load": absent("s", why), "first_call": absent("s", why), **_no_starts(why)}


def cold_start(desk: Desk, running: Running, text: str) -> dict[str, float]:
    """One start: `whole` from before the process exists to its first answer, `baseline` until its imports are done."""
    given = {**loading(desk, running), "family": importing(desk, running)["family"], "text": text}
    started = time.perf_counter()
    process = worker(desk, running)
    try:
        made = process.call("starting:cold", allow=STARTING, **given)
        whole = time.perf_counter() - started
    finally:
        process.close()
    return {"whole": whole, "baseline": whole - made["since_imports"]}


def starts_of(found: list[dict[str, float]]) -> dict[str, Any]:
    """The measures of all starts of one subject."""
    made = {}
    for name, key in (("cold_start", "whole"), ("baseline_start", "baseline")):
        seconds = [one[key] for one in found]
        made[name] = measure(median(seconds), "s", median_interval(seconds), len(seconds), seconds)
    return made


def _no_starts(why: str) -> dict[str, Any]:
    return {"cold_start": absent("s", why), "baseline_start": absent("s", why)}
