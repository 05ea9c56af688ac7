"""How long loading takes, and the first answer after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from compress.bench.measures import absent, measure
from compress.bench.probes.base import PROBES, Probe

if TYPE_CHECKING:
    from compress.bench.desk import Desk, Running


@PROBES.register("load")
class Load(Probe):
    """Seconds from folder to loaded student, and of the first answer, in a fresh process with imports done.

    Weights are usually in the page cache by then, as they are when an app restarts. One start gives one sample and
    therefore no interval.
    """

    order: ClassVar[int] = 10

    def at_start(self, desk: Desk, running: Running) -> None:
        """Note the load time and ask for the first answer."""
        first = running.call("timing:first", row=0)
        running.report["load"] = {
            "load": measure(running.opened["seconds"], "s"),
            "first_call": measure(first["seconds"], "s"),
        }

    def missing(self, running: Running) -> None:
        """No load time for a subject that failed."""
        why = f"the subject {running.report['status']}"
        running.report["load"] = {"load": absent("s", why), "first_call": absent("s", why)}
