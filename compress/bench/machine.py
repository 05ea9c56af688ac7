"""Where the measuring happens: the device that subjects can use, and what the machine says of itself."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from compress.bench.nvml import gpu_state
from compress.bench.sources import Subject
from compress.core.environment import environment
from compress.core.errors import InputError
from compress.runtime.engines.names import check_device, parse_engine

CPUS, NODES = Path("/sys/devices/system/cpu"), Path("/sys/devices/system/node")


def device_for(wanted: str, subjects: Sequence[Subject]) -> str:
    """`cpu` or `cuda`. Raises InputError for `cuda` where there is none, or with a subject that cannot use it.

    Also for an engine's variant that makes no sense on the device. auto is `cuda` only when every subject can run
    there: a ratio of a GPU to a CPU says nothing about a model.
    """
    device = _device(wanted, subjects)
    for subject in subjects:
        check_device(parse_engine(subject.engine), device)
    return device


def _device(wanted: str, subjects: Sequence[Subject]) -> str:
    elsewhere = [one.name for one in subjects if parse_engine(one.engine).engine != "torch" or one.dtype == "int8"]
    if wanted == "cpu" or (wanted == "auto" and elsewhere):
        return "cpu"
    present = cuda_present()
    if wanted == "cuda" and not present:
        raise InputError("device: cuda was asked for, and torch finds no CUDA device here; use device: cpu")
    if wanted == "cuda" and elsewhere:
        raise InputError(
            f"device: cuda needs the torch engine in floating point, and {', '.join(elsewhere)} has another form; "
            f"measure it apart with device: cpu"
        )
    return "cuda" if present else "cpu"


def cuda_present() -> bool:
    """Whether torch is installed and sees a CUDA device."""
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def machine() -> dict[str, Any]:
    """The environment of every artifact, and what decides how steady the clock speed is; None where nobody tells."""
    return {
        **environment(),
        "governor": governor(),
        "cpu_mhz": cpu_mhz(),
        "gpu_state": gpu_state(),
        "numa": numa_nodes(),
        "load": [round(one, 2) for one in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def governor(cpus: Path = CPUS) -> str | None:
    """The frequency governor of every core (`performance`, or `performance, powersave` when they differ)."""
    return ", ".join(sorted({text for path in _each(cpus, "scaling_governor") if (text := _read(path))})) or None


def cpu_mhz(cpus: Path = CPUS) -> dict[str, float] | None:
    """The lowest and highest clock that the governor may set, and the mean of the clocks now, in MHz."""
    found: dict[str, float] = {}
    for name, file in (("min", "scaling_min_freq"), ("max", "scaling_max_freq"), ("now", "scaling_cur_freq")):
        values = [int(text) / 1e3 for path in _each(cpus, file) if (text := _read(path)).isdigit()]
        if values:
            found[name] = round({"min": min, "max": max}.get(name, fmean)(values), 1)
    return found or None


def numa_nodes(nodes: Path = NODES) -> dict[str, str]:
    """The cores of each memory node, as the kernel writes them (`0-15`)."""
    folders = sorted(nodes.glob("node[0-9]*"), key=lambda path: int(path.name.removeprefix("node")))
    return {path.name.removeprefix("node"): _read(path / "cpulist") for path in folders}


def _each(cpus: Path, file: str) -> list[Path]:
    return sorted(cpus.glob(f"cpu[0-9]*/cpufreq/{file}"))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
