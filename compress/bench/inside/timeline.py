"""Memory over time: a thread that sleeps between two looks at it, while a stage of the subject's life goes on."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compress.bench.inside.state import State

EVERY = 0.02  # seconds; one look reads a line of /proc and takes some 20 microseconds
MOST = 60  # points kept of one stage
STATM = Path("/proc/self/statm")
STAT, UPTIME = Path("/proc/self/stat"), Path("/proc/uptime")
Point = tuple[float, int, str]


@contextmanager
def stage(state: State, name: str) -> Iterator[None]:
    """Note resident bytes every 20 ms, and at both ends, as points of `name`; nothing where there is no /proc."""
    points: list[Point] = []
    stop = threading.Event()
    look(state, name, points)
    thread = threading.Thread(target=_watch, args=(state, name, points, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        look(state, name, points)
        state.timeline += _thinned(points)


def look(state: State, name: str, points: list[Point]) -> None:
    """Add one point: seconds of this process's life without its waits for the parent, bytes, and the stage."""
    found = resident()
    if found is not None:
        points.append((round(time.perf_counter() - state.born - state.idle_wall, 4), found, name))


def resident(path: Path = STATM) -> int | None:
    """Resident bytes of this process, or None where the kernel does not tell."""
    try:
        return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def age(stat: Path = STAT, uptime: Path = UPTIME) -> float:
    """Seconds since this process started, to 10 ms; 0 where the kernel does not tell."""
    try:
        started = int(stat.read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return max(float(uptime.read_text().split()[0]) - started, 0.0)
    except (OSError, ValueError, IndexError):
        return 0.0


def _watch(state: State, name: str, points: list[Point], stop: threading.Event) -> None:
    while not stop.wait(EVERY):
        look(state, name, points)


def _thinned(points: list[Point]) -> list[Point]:
    """At most `MOST` points, the first, the last and the highest always among them."""
    if len(points) <= MOST:
        return points
    highest = max(range(len(points)), key=lambda index: points[index][1])
    step = (len(points) - 1) / (MOST - 2)
    kept = {highest, *(round(step * index) for index in range(MOST - 1))}
    return [points[index] for index in sorted(kept)]
