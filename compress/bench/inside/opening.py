"""From a bare interpreter to a loaded student, with memory read between the steps."""

from __future__ import annotations

import gc
import sys
import time
from typing import Any

from compress.bench.inside import memory, timeline
from compress.bench.inside.state import State
from compress.runtime.engines.base import import_engine
from compress.runtime.student import Student

HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "pydantic",
    "onnx",
    "onnxruntime",
    "openvino",
    "scipy",
    "sklearn",
    "pandas",
    "pyarrow",
)


def imports(state: State, engine: str, family: str, rows: str) -> dict[str, Any]:
    """Import all that the engine needs for a model of this family, so that it counts to the baseline and not to it."""
    started = time.perf_counter()
    with timeline.stage(state, "imports"):
        import_engine(engine, family)
    seconds = time.perf_counter() - started
    state.read_rows(rows)
    return {
        "seconds": seconds,
        "affinity": sorted(state.allowed),
        "imports": [name for name in HEAVY if name in sys.modules],
    }


def load(state: State, folder: str, engine: str, threads: int, device: str) -> dict[str, Any]:
    """Load the student; `memory` before and after, `peak` while it loaded, labels and the threads that it got."""
    gc.collect()
    before = memory.read()
    memory.reset_peak()
    state.device = device
    with timeline.stage(state, "load"):
        started = time.perf_counter()
        state.loaded = Student.load(folder, engine=engine, threads=threads, device=device)
        state.synchronize()
        seconds = time.perf_counter() - started
    after = memory.read()
    memory.reset_peak()  # what loading held for a moment is no part of what answering holds
    return {
        "seconds": seconds,
        "baseline": before,
        "after": after,
        "gpu": memory.gpu(state),
        "task": state.student.task,
        "labels": list(state.student.labels),
        "max_length": int(state.student.max_length),
        "threads": state.student.engine.threads,
        "dtype": state.student.engine.dtype,
    }


def idle(state: State) -> dict[str, float]:
    """Seconds that this process has waited for its parent, and the CPU seconds that it used meanwhile."""
    return {"wall": state.idle_wall, "cpu": state.idle_cpu}
