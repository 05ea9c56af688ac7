"""The machine and the packages that a result came from; recorded in every manifest and measure."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = (
    "stillroom", "torch", "transformers", "accelerate", "tokenizers", "datasets", "safetensors", "numpy",
    "scikit-learn", "onnx", "onnxruntime", "onnxscript", "torchao", "openvino", "pydantic",
)  # fmt: skip
CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16", "avx_vnni")


@functools.cache
def _fixed() -> dict[str, Any]:
    """What does not change while a process lives, so that one run asks for it once."""
    versions: dict[str, str] = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "packages": versions,
        "cpu": cpu_model(),
        "cpu_flags": cpu_flags(),
        "gpu": gpu_names(),
        "git_commit": git_commit(),
    }


def environment() -> dict[str, Any]:
    """Packages, CPU, threads, memory, cgroup limits, GPU and git commit of this process, as plain JSON."""
    return {
        **_fixed(),
        "cores": cores(),
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        "cgroup_cpu_quota": cgroup_cpu_quota(),
        "memory_limit_bytes": memory_limit(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def cores() -> int:
    """Cores that this process may really use: affinity, cut by the cgroup quota, at least 1."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota = cgroup_cpu_quota()
    return max(1, min(available, int(quota))) if quota else available


def cgroup_cpu_quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """CPUs allowed by the cgroup (v2, then v1), or None when there is no limit.

    A group may be bound by any group above it (a slice, a scope of systemd or Slurm): the smallest quota counts.
    """
    inside = next((line[3:].strip("/") for line in (_read(own) or "").splitlines() if line.startswith("0::")), "")
    groups = [root.joinpath(*inside.split("/")[:depth]) for depth in range(len(inside.split("/")) + 1)]
    texts = [text for group in groups if (text := _read(group / "cpu.max"))]
    if texts:
        pairs = [text.split() for text in texts if not text.startswith("max")]
        return min((int(limit) / int(period) for limit, period in pairs), default=None)
    old = root / "cpu"
    quota, span = _read(old / "cpu.cfs_quota_us"), _read(old / "cpu.cfs_period_us")
    return int(quota) / int(span) if quota and span and int(quota) > 0 else None


def memory_limit() -> int | None:
    """Bytes allowed by the cgroup, else the machine's memory, else None."""
    text = _read(Path("/sys/fs/cgroup/memory.max")) or _read(Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
    if text and text != "max" and int(text) < 1 << 60:
        return int(text)
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def cpu_model() -> str:
    """The processor's name as the kernel gives it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_flags() -> list[str]:
    """Those of the vector and matrix extensions that matter for int8 and bf16 which this CPU has."""
    flags = set(_cpuinfo("flags").split())
    return [flag for flag in CPU_FLAGS if flag in flags]


def gpu_names() -> list[str]:
    """Names and driver of the NVIDIA GPUs, asked of nvidia-smi so that torch need not be imported."""
    tool = shutil.which("nvidia-smi")
    return _lines([tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]) if tool else []


def git_commit() -> str:
    """Commit of the checkout that the package runs from (with `-dirty`), or an empty string when installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return ""
    found = _lines(["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
    return found[0] if found else ""


def interpreter() -> str:
    """Path of the running Python, for child processes."""
    return sys.executable


def _lines(command: list[str]) -> list[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _cpuinfo(key: str) -> str:
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
