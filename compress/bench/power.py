"""Energy counters: RAPL of the processor packages and their memory, NVML of the GPU. They count the whole machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compress.bench import nvml

POWERCAP = Path("/sys/class/powercap")
COUNTED = ("package", "dram")  # `core` and `uncore` lie inside the package, `psys` around it


@dataclass(frozen=True)
class Counter:
    """One counter that only grows. read: joules so far; wraps: joules after which it starts again at 0 (0: never)."""

    name: str
    read: Callable[[], float]
    wraps: float = 0.0

    def since(self, before: float) -> float:
        """Joules since it stood at `before`."""
        spent = self.read() - before
        return spent + self.wraps if spent < 0 else spent


def counters(device: str) -> tuple[list[Counter], str]:
    """The counters of this machine that can be read, and what is missing, empty when nothing is."""
    found, why = rapl()
    if device == "cuda":
        gpus, missing = _gpu()
        found, why = found + gpus, "; ".join(text for text in (why, missing) if text)
    return found, why


def rapl(root: Path | None = None) -> tuple[list[Counter], str]:
    """The packages and their memory under `/sys/class/powercap`, or why there are none."""
    found: list[Counter] = []
    closed = False
    for folder in sorted((root or POWERCAP).glob("*rapl:*")):
        try:
            name = (folder / "name").read_text().strip()
            if not name.startswith(COUNTED):
                continue
            wraps = int((folder / "max_energy_range_uj").read_text()) / 1e6
            counter = Counter(f"{folder.name} {name}", _reader(folder / "energy_uj"), wraps)
            counter.read()
        except PermissionError:
            closed = True
        except (OSError, ValueError):
            continue
        else:
            found.append(counter)
    if found:
        return found, ""
    if closed:
        return [], "RAPL can be read by root only (sudo chmod a+r /sys/class/powercap/*/energy_uj)"
    return [], "this machine shows no RAPL counters (a virtual machine, or another processor)"


def _reader(path: Path) -> Callable[[], float]:
    return lambda: int(path.read_text()) / 1e6


def _gpu() -> tuple[list[Counter], str]:
    pynvml, why = nvml.open_nvml()
    if why:
        return [], str(why)
    try:
        handle = nvml.device(pynvml)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError as error:
        return [], f"NVML does not tell this GPU's energy ({error})"
    return [Counter("gpu", lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3)], ""
