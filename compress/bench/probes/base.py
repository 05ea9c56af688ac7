"""What a probe is: one kind of measurement, in the parent's process; `compress.bench.inside` is the subject's side."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from compress.core.options import Options
from compress.core.registry import Catalogue

if TYPE_CHECKING:
    from compress.bench.desk import Desk, Running


class Probe(Options):
    """Base of every probe. It writes what it finds into `running.report`, the subject's part of measures.json.

    order: probes run from low to high. A SubjectError in `at_start`, or inside `desk.watch`, fails that subject only.
    """

    order: ClassVar[int] = 50

    def at_start(self, desk: Desk, running: Running) -> None:
        """Called right after one subject has loaded, before it has answered anything and before the next one loads."""

    def measure(self, desk: Desk) -> None:
        """Called once when every subject is loaded (`desk.alive()`)."""

    def missing(self, running: Running) -> None:
        """Fill this probe's place in the report of a subject that failed before it."""


PROBES: Catalogue[Probe] = Catalogue("probe", "probes", ("compress.bench.probes",))
