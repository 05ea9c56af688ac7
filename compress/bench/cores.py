"""Which cores the subjects' threads are bound to while they are timed: the same ones for every subject."""

from __future__ import annotations

import os
import time
from pathlib import Path

LOOK = 0.2  # seconds in which the load of every CPU is looked at
CPUS, STAT = Path("/sys/devices/system/cpu"), Path("/proc/stat")
SPEEDS = ("cpu_capacity", "acpi_cppc/highest_perf", "cpufreq/cpuinfo_max_freq")


def quiet_cores(threads: int, cpus: Path = CPUS, stat: Path = STAT, look: float = LOOK) -> list[int]:
    """`threads` CPUs of this process's affinity, on cores of their own, the fastest and then the idlest first.

    Two threads that the scheduler puts on one core while another program has the other wait for each other many times
    the work, until they are moved; threads that are bound to a core each do not. [] where nothing is to be bound: for
    one thread, for more threads than cores, and where the system has no affinity (macOS, Windows).
    """
    if threads < 2 or not hasattr(os, "sched_getaffinity"):
        return []
    allowed = os.sched_getaffinity(0)
    busy = _busy(stat, look)
    order = sorted(allowed, key=lambda cpu: (-_speed(cpus, cpu), busy.get(cpu, 0.0), cpu))
    found: dict[str, int] = {}
    for cpu in order:
        found.setdefault(_core(cpus, cpu), cpu)
    return sorted(found.values(), key=order.index)[:threads] if len(found) >= threads else []


def _core(cpus: Path, cpu: int) -> str:
    """A name that hyperthreads of one core share."""
    return _text(cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list") or str(cpu)


def _speed(cpus: Path, cpu: int) -> float:
    """A number that is larger for faster cores, where they differ (big and little ones)."""
    for name in SPEEDS:
        found = _text(cpus / f"cpu{cpu}" / name)
        if found.isdigit():
            return float(found)
    return 0.0


def _busy(stat: Path, look: float) -> dict[int, float]:
    """The share of each CPU's time that was in use while it was looked at, in tenths: less is chance."""
    before = _ticks(stat)
    time.sleep(look)
    after = _ticks(stat)
    shares = {}
    for cpu in before.keys() & after.keys():
        used, whole = (after[cpu][place] - before[cpu][place] for place in (0, 1))
        shares[cpu] = round(used / whole, 1) if whole > 0 else 0.0
    return shares


def _ticks(stat: Path) -> dict[int, tuple[int, int]]:
    """CPU to its ticks in use and in all; {} where nobody tells."""
    found = {}
    for line in _text(stat).splitlines():
        name, *numbers = line.split()
        if name[:3] == "cpu" and name[3:].isdigit():
            ticks = [int(number) for number in numbers[:8]]  # guests are counted to user already
            found[int(name[3:])] = (sum(ticks) - sum(ticks[3:5]), sum(ticks))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
