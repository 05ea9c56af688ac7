"""How many threads an engine gets when nobody says."""

from __future__ import annotations

import os
from pathlib import Path

from compress.core.errors import InputError

_QUOTA_V2 = Path("/sys/fs/cgroup/cpu.max")
_QUOTA_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def threads_of(wanted: int | None) -> int:
    """`wanted`, or the cores that this process may use. Raises InputError for less than one."""
    if wanted is None:
        return usable_cores()
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
        raise InputError(f"threads: expected a whole number from 1, came {wanted!r}")
    return wanted


def usable_cores() -> int:
    """Cores by affinity, cut by the container's CPU quota: more threads than that only wait for one another."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota = _quota()
    return max(1, min(cores, int(quota))) if quota else cores


def _quota() -> float | None:
    try:
        if _QUOTA_V2.is_file():
            quota, period = _QUOTA_V2.read_text().split()
        else:
            quota, period = (path.read_text().strip() for path in _QUOTA_V1)
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 else None
    except (OSError, ValueError):
        return None
