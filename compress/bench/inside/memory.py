"""How much memory this process holds, from the kernel; where there is no /proc, what psutil can see."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from compress.bench.inside.state import State

PROC = Path("/proc/self")
PSS, RSS = "pss", "rss"


def read(state: State | None = None, proc: Path = PROC) -> dict[str, Any]:
    """Bytes now: `{"method", "now", "files", "pss", "rss", "peak"}`.

    now: proportional set size as it would be if no other process shared the mapped files: private memory plus file
    pages in full. The kernel's own `pss` divides the pages of libtorch by however many neighbours map it, so that a
    second benchmark process would make the first one look smaller. files: the part of it that is pages of mapped files,
    which a kernel short of memory can drop. peak: the largest `now` since `reset_peak`.
    """
    rollup, status = _fields(proc / "smaps_rollup"), _fields(proc / "status")
    if "Pss" not in rollup or "VmRSS" not in status:
        return _without_proc()
    anonymous, shared = rollup.get("Pss_Anon", rollup.get("Anonymous", 0)), rollup.get("Pss_Shmem", 0)
    files = max(rollup["Rss"] - rollup.get("Anonymous", 0) - status.get("RssShmem", 0), 0)
    now = anonymous + shared + files
    return {
        "method": PSS,
        "now": now,
        "files": files,
        "pss": rollup["Pss"],
        "rss": rollup["Rss"],
        # The kernel keeps the high-water mark of RSS only; what RSS counts beyond `now` is taken off it.
        "peak": max(status.get("VmHWM", 0) - (rollup["Rss"] - now), now),
    }


def reset_peak(state: State | None = None, proc: Path = PROC) -> bool:
    """Start the high-water mark anew; False where the kernel does not let us."""
    try:
        (proc / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def gpu(state: State, reset: bool = False) -> dict[str, Any]:
    """Bytes of the GPU that this process used: `allocated` and `reserved` peaks of torch, `used` as NVML sees it."""
    torch = state.torch_on_cuda()
    if torch is None:
        return {}
    torch.cuda.synchronize()
    found = {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    used = _nvml_used()
    if used is not None:
        found["used"] = used
    if reset:
        torch.cuda.reset_peak_memory_stats()
    return found


def _nvml_used() -> int | None:
    try:
        import pynvml
    except ImportError:
        return None
    import os

    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        for index in range(pynvml.nvmlDeviceGetCount()):
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(pynvml.nvmlDeviceGetHandleByIndex(index)):
                if process.pid == os.getpid() and process.usedGpuMemory is not None:
                    return int(process.usedGpuMemory)
    return None


def _fields(path: Path) -> dict[str, int]:
    """`Name:  123 kB` lines in bytes."""
    found: dict[str, int] = {}
    try:
        text = path.read_text()
    except OSError:
        return found
    for line in text.splitlines():
        name, _, value = line.partition(":")
        parts = value.split()
        if len(parts) == 2 and parts[1] == "kB" and parts[0].isdigit():
            found[name] = int(parts[0]) * 1024
    return found


def _without_proc() -> dict[str, Any]:
    """Resident set size through psutil: shared pages count in full, and Windows alone keeps a peak."""
    import psutil

    info = psutil.Process().memory_info()
    return {
        "method": RSS,
        "now": info.rss,
        "files": 0,
        "pss": None,
        "rss": info.rss,
        "peak": getattr(info, "peak_wset", info.rss),
    }
