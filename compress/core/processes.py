"""Which of several processes this one is, when torchrun or `accelerate launch` has started more than one.

Standard library only: a pipeline of one process learns here, without torch, that it is alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from compress.core.errors import InputError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """rank: the number of this process among `world` in all, from 0. local: its number on its machine."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes artifacts, checkpoints and progress: exactly one does."""
        return self.rank == 0


def this_process(environ: Mapping[str, str] | None = None) -> Place:
    """This process as the launcher's variables (RANK, WORLD_SIZE, LOCAL_RANK) tell it; alone where there are none.

    Raises InputError for variables that contradict each other.
    """
    given = os.environ if environ is None else environ
    try:
        found = Place(int(given.get("RANK", "0")), int(given.get("WORLD_SIZE", "1")), int(given.get("LOCAL_RANK", "0")))
    except ValueError as error:
        raise InputError(f"RANK, WORLD_SIZE and LOCAL_RANK must be whole numbers ({error}); unset them") from None
    if not 0 <= found.rank < found.world:
        raise InputError(
            f"RANK is {found.rank} and WORLD_SIZE {found.world}: no such process. Start several with "
            "torchrun --nproc-per-node N -m compress run RECIPE, or unset both"
        )
    return found


@contextmanager
def alone() -> Iterator[None]:
    """Hide the other processes from what runs in the block, and from its children.

    What one process does while the others wait must neither wait for them (a training) nor take itself for one of
    several (a measurement in a process of its own).
    """
    hidden = {name: os.environ.pop(name) for name in VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


class Crew:
    """The processes of one job. This one is a crew of one, where nothing has to be exchanged."""

    def __init__(self, where: Place | None = None) -> None:
        self.place = where or Place()
        self.rank, self.world, self.leads = self.place.rank, self.place.world, self.place.leads

    def told(self, value: float) -> float:
        """The leader's value, in every process. Waits until the leader gives it."""
        return value

    def meet(self) -> None:
        """Wait until every process is here."""

    def leave(self) -> None:
        """End the connection; nothing can be exchanged afterwards."""
