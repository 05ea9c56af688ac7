"""How much memory a subject needs on top of the interpreter and its imports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from compress.bench.isolation import RequestError
from compress.bench.launch import ask
from compress.bench.measures import absent, measure
from compress.bench.probes.base import PROBES, Probe
from compress.bench.workload import corpus_requests

if TYPE_CHECKING:
    from compress.bench.desk import Desk, Running

WHOLE = ("baseline", "after_load", "steady", "peak", "own")
BILL = ("imports", "weights", "activations", "loading")


@PROBES.register("memory")
class Memory(Probe):
    """Proportional set size (PSS) before loading, after it, and at its highest while answering corpus texts.

    `baseline` is interpreter and imports, `own` is peak minus baseline: what this model adds to a Python process. The
    largest of the batch sizes decides the peak. Pages of mapped files count as if no neighbour shared them (see
    `inside/memory.py`); the kernel's own figures stand in `kernel`. `bill` splits the peak: imports, weights (what
    loading left), activations (what answering added at its highest) and loading (what loading needed for a moment
    beyond both). `timeline` is resident memory over the seconds of the process's life that it did not spend waiting.
    """

    order: ClassVar[int] = 20

    requests: int = Field(
        8, ge=1, description="requests of the largest batch that are answered before the peak is read"
    )

    def at_start(self, desk: Desk, running: Running) -> None:
        """Answer some large batches and read the peak, while this process is alone in doing anything."""
        batch = max(desk.options.batch_sizes)
        rows = corpus_requests(desk.inputs, batch, self.requests, desk.chance)
        try:
            ended = ask(desk, running, "working:answer", desk.options.seconds, rows=rows)
        except RequestError as error:
            _blank(running, f"{batch} texts in a request: {error}")
            return
        opened = running.opened
        before, after, end = opened["baseline"], opened["after"], ended["memory"]
        peak = max(after["peak"], end["peak"])
        running.report["memory"] = {
            "method": before["method"],
            "batch": batch,
            "baseline": measure(before["now"], "bytes"),
            "after_load": measure(after["now"], "bytes"),
            "steady": measure(end["now"], "bytes"),
            "peak": measure(peak, "bytes"),
            "own": measure(peak - before["now"], "bytes"),
            "bill": {name: measure(size, "bytes") for name, size in bill_of(before, after, end).items()},
            "timeline": ended["timeline"],
            "kernel": {
                name: {"pss": read["pss"], "rss": read["rss"]}
                for name, read in (("baseline", before), ("after_load", after), ("steady", end))
            },
            "gpu": _gpu(desk.device, ended["gpu"]),
        }

    def missing(self, running: Running) -> None:
        """No memory for a subject that failed."""
        _blank(running, f"the subject {running.report['status']}")


def _blank(running: Running, why: str) -> None:
    bill = {name: absent("bytes", why) for name in BILL}
    running.report["memory"] = {**{name: absent("bytes", why) for name in WHOLE}, "bill": bill, "timeline": []}


def bill_of(before: dict[str, int], after: dict[str, int], end: dict[str, int]) -> dict[str, int]:
    """The peak in parts that add up to it, from memory read before loading, after it, and after answering."""
    imports = before["now"]
    weights = max(after["now"] - imports, 0)
    activations = max(end["peak"] - imports - weights, 0)
    loading = max(after["peak"] - imports - weights - activations, 0)
    return {"imports": imports, "weights": weights, "activations": activations, "loading": loading}


def _gpu(device: str, found: dict[str, int]) -> dict[str, Any]:
    if device == "cpu":
        return absent("bytes", "measured on the CPU")
    why = "NVML did not tell (pip install nvidia-ml-py)"
    names = ("allocated", "reserved", "used")
    return {name: measure(found[name], "bytes") if name in found else absent("bytes", why) for name in names}
