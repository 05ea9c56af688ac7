"""What a subject's process holds between two calls of the parent."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.runtime.student import Student


def cpus() -> frozenset[int]:
    """The CPUs that this process may use; none where the system has no affinity."""
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


@dataclass
class State:
    """The loaded student, the rows of the split as the student takes them, and what probes keep.

    idle_wall, idle_cpu: seconds spent waiting for the parent, and the CPU seconds that this process used meanwhile.
    born: when the process started, on the clock of `time.perf_counter`. timeline: (seconds, bytes, stage).
    allowed: the CPUs of the process; bound: threads that are bound to one of them.
    """

    rows: list[Any] = field(default_factory=list)
    device: str = "cpu"
    loaded: Student | None = None
    kept: dict[str, Any] = field(default_factory=dict)
    idle_wall: float = 0.0
    idle_cpu: float = 0.0
    born: float = field(default_factory=time.perf_counter)
    timeline: list[tuple[float, int, str]] = field(default_factory=list)
    allowed: frozenset[int] = field(default_factory=cpus)
    bound: dict[int, int] = field(default_factory=dict)

    @property
    def student(self) -> Student:
        """The student. Raises RuntimeError before `opening:load`."""
        if self.loaded is None:
            raise RuntimeError("the student is not loaded yet")
        return self.loaded

    def read_rows(self, path: str) -> None:
        """Take the inputs that the parent wrote as JSON."""
        self.rows = json.loads(Path(path).read_text(encoding="utf-8"))

    def torch_on_cuda(self) -> Any:
        """The torch module when the student runs on CUDA, else None; never imports it."""
        return sys.modules.get("torch") if self.device == "cuda" else None

    def synchronize(self) -> None:
        """Wait until the device has done everything asked of it, so that a clock reads work and not queueing."""
        torch = self.torch_on_cuda()
        if torch is not None:
            torch.cuda.synchronize()
