"""Several processes that label together: torchrun's environment variables, and files to see who is alive."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from compress.core.errors import InputError, JobError

PATIENCE = 180.0  # seconds without a sign of life after which the others are taken for dead
_LOOK = 0.2


@dataclass(frozen=True)
class Ranks:
    """This process among `world`: it works on every `world`-th shard, from its `rank` on."""

    rank: int = 0
    world: int = 1

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Ranks:
        """What torchrun says in RANK and WORLD_SIZE; alone without them. Raises InputError for nonsense."""
        rank, world = environment.get("RANK", "0"), environment.get("WORLD_SIZE", "1")
        if not (rank.isdigit() and world.isdigit() and int(rank) < int(world)):
            raise InputError(
                f"RANK and WORLD_SIZE: expected a process number below the number of processes, came {rank} and "
                f"{world}; start the processes with torchrun, or unset both"
            )
        return cls(int(rank), int(world))

    def mine(self, number: int) -> bool:
        """Whether this process makes the shard of that number."""
        return number % self.world == self.rank

    def breathe(self, folder: Path) -> None:
        """Leave a sign of life for the others."""
        if self.world > 1:
            (folder / f".alive-{self.rank}").touch()

    def arrive(self, folder: Path) -> None:
        """Say that this process needs nothing more of the folder."""
        try:
            (folder / f".arrived-{self.rank}").touch()
        except OSError:
            return  # the first process has cleared the folder away: all had arrived before

    def all_arrived(self, folder: Path, since: float) -> bool:
        """Whether every other process has said so after `since`: what an earlier job left does not count."""
        others = (folder / f".arrived-{rank}" for rank in range(self.world) if rank != self.rank)
        return all(_touched(path) >= since for path in others)

    def wait(self, folder: Path, done: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        """Wait for what another process makes. Raises JobError when nobody has shown a sign of life for `patience`."""
        began = time.time()
        while not done():
            signs = [_touched(folder / f".alive-{rank}") for rank in range(self.world) if rank != self.rank]
            if time.time() - max([began, *signs]) > patience:
                raise JobError(
                    f"{what} did not come: no other process has worked for {patience:.0f} s (this is {self.rank} of "
                    f"{self.world}). Start all of them again; whole shards are kept"
                )
            time.sleep(_LOOK)


def _touched(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
