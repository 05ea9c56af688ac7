"""Where the measuring happens: the device that subjects can use, and what the machine says of itself."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compress.bench.sources import Subject
from compress.core.environment import environment
from compress.core.errors import InputError

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def device_for(wanted: str, subjects: Sequence[Subject]) -> str:
    """`cpu` or `cuda`. Raises InputError for `cuda` where there is none, or with a subject that cannot use it.

    auto is `cuda` only when every subject can run there: a ratio of a GPU to a CPU says nothing about a model.
    """
    elsewhere = [subject.name for subject in subjects if subject.engine != "torch"]
    if wanted == "cpu" or (wanted == "auto" and elsewhere):
        return "cpu"
    present = cuda_present()
    if wanted == "cuda" and not present:
        raise InputError("device: cuda was asked for, and torch finds no CUDA device here; use device: cpu")
    if wanted == "cuda" and elsewhere:
        raise InputError(
            f"device: cuda needs the torch engine, and {', '.join(elsewhere)} runs in another; "
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
    """The environment of every artifact, and the frequency governor (None where the kernel does not tell)."""
    try:
        governor: str | None = GOVERNOR.read_text().strip()
    except OSError:
        governor = None
    return {**environment(), "governor": governor}
