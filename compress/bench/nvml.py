"""What the NVIDIA driver says of the GPU that is measured on, through NVML (`nvidia-ml-py`); nothing without it."""

from __future__ import annotations

import os
from typing import Any

CLOCKS = {"sm_mhz": "NVML_CLOCK_SM", "memory_mhz": "NVML_CLOCK_MEM"}


def open_nvml() -> tuple[Any, str]:
    """The pynvml module, initialised, and an empty text; or None and why there is none."""
    try:
        import pynvml
    except ImportError:
        return None, "NVML cannot be asked (pip install nvidia-ml-py)"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, f"NVML does not answer ({error})"
    return pynvml, ""


def device(pynvml: Any) -> Any:
    """The handle of the first GPU that CUDA programs of this environment see. Raises pynvml.NVMLError."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if first.startswith(("GPU-", "MIG-")):
        return pynvml.nvmlDeviceGetHandleByUUID(first)
    return pynvml.nvmlDeviceGetHandleByIndex(int(first) if first.isdigit() else 0)


def gpu_state() -> dict[str, Any]:
    """Clocks now and at most, power limit, temperature and throttling of the measured GPU; empty without one."""
    pynvml, why = open_nvml()
    if why:
        return {}
    try:
        handle = device(pynvml)
    except pynvml.NVMLError:
        return {}
    asked = {
        **{name: ("nvmlDeviceGetClockInfo", clock) for name, clock in CLOCKS.items()},
        **{f"max_{name}": ("nvmlDeviceGetMaxClockInfo", clock) for name, clock in CLOCKS.items()},
        "power_limit_mw": ("nvmlDeviceGetEnforcedPowerLimit", None),
        "temperature_c": ("nvmlDeviceGetTemperature", "NVML_TEMPERATURE_GPU"),
        "persistence": ("nvmlDeviceGetPersistenceMode", None),
        "throttle_reasons": ("nvmlDeviceGetCurrentClocksThrottleReasons", None),
    }
    found: dict[str, Any] = {}
    for name, (function, constant) in asked.items():
        arguments = () if constant is None else (getattr(pynvml, constant),)
        try:
            found[name] = int(getattr(pynvml, function)(handle, *arguments))
        except pynvml.NVMLError:
            found[name] = None
    return found
