"""How many threads an engine gets when nobody says."""

from __future__ import annotations

import os
from pathlib import Path

from compress.core.errors import InputError

_CGROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_QUOTA_V1 = "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"


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


def _quota(root: Path = _CGROUPS, own: Path = _OWN) -> float | None:
    """CPUs that the cgroup and those above it allow (v2, then v1); None without a limit."""
    found = [_ratio(folder / "cpu.max") for folder in _groups(root, own)]
    limits = [ratio for ratio in found if ratio]
    if limits:
        return min(limits)
    try:
        quota, period = ((root / name).read_text().strip() for name in _QUOTA_V1)
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):
        return None


def _groups(root: Path, own: Path) -> list[Path]:
    """The folders of this process's cgroup (v2) and of all above it, the root first."""
    try:
        inside = next((line[3:] for line in own.read_text().splitlines() if line.startswith("0::")), "")
    except OSError:
        inside = ""
    parts = inside.strip("/").split("/")
    return [root.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]


def _ratio(path: Path) -> float | None:
    try:
        quota, period = path.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None
