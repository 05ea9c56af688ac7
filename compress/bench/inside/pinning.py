"""Bind the threads that compute to a core each, whichever library they belong to: OpenMP's, ONNX Runtime's, TBB's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from compress.bench.inside.state import State

TASKS = Path("/proc/self/task")


@contextmanager
def pinned_after(state: State, cores: Sequence[int]) -> Iterator[None]:
    """While the block (a warm-up) runs, no thread is bound; after it, those that worked most are, one to a core.

    Unbound before, since a thread that a bound one starts would be bound to the same core for good. Libraries start
    theirs with the first requests. Nothing happens without `cores`.
    """
    if not cores:
        yield
        return
    release(state)
    before = worked()
    yield
    state.bound = bind(before, worked(), cores)


def release(state: State) -> None:
    """Let every thread that was bound run anywhere again."""
    for thread in state.bound:
        with suppress(OSError):  # it has ended
            os.sched_setaffinity(thread, state.allowed)
    state.bound = {}


def bind(before: Mapping[int, int], after: Mapping[int, int], cores: Sequence[int]) -> dict[int, int]:
    """Bind as many threads as there are cores, those that worked most between two looks; thread to core."""
    spent = {thread: worked - before.get(thread, 0) for thread, worked in after.items()}
    found = {}
    for thread, core in zip(sorted(spent, key=lambda one: (-spent[one], one)), cores, strict=False):
        if spent[thread] > 0:
            with suppress(OSError):
                os.sched_setaffinity(thread, {core})
                found[thread] = core
    return found


def worked(tasks: Path = TASKS) -> dict[int, int]:
    """Nanoseconds that each thread of this process has run; {} where the system does not tell."""
    found = {}
    for path in tasks.glob("*/schedstat"):
        with suppress(OSError, ValueError, IndexError):
            found[int(path.parent.name)] = int(path.read_text().split()[0])
    return found
