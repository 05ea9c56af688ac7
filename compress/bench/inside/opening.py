"""From a bare interpreter to a loaded student, with memory read between the steps."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import time
from typing import Any

from compress.bench.inside import memory
from compress.bench.inside.state import State
from compress.runtime.student import Student

HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "pydantic",
    "onnx",
    "onnxruntime",
    "scipy",
    "sklearn",
    "pandas",
    "pyarrow",
)


def imports(state: State, engine: str, family: str, rows: str) -> dict[str, Any]:
    """Import all that the engine needs for a model of this family, so that it counts to the baseline and not to it."""
    started = time.perf_counter()
    importlib.import_module(f"compress.runtime.engines.{engine}")
    if engine == "onnx":
        importlib.import_module("onnxruntime")
    else:
        _import_family(family)
    seconds = time.perf_counter() - started
    state.read_rows(rows)
    affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return {"seconds": seconds, "affinity": affinity, "imports": [name for name in HEAVY if name in sys.modules]}


def load(state: State, folder: str, engine: str, threads: int, device: str) -> dict[str, Any]:
    """Load the student; `memory` before and after, `peak` while it loaded, labels and the threads that it got."""
    gc.collect()
    before = memory.read()
    memory.reset_peak()
    state.device = device
    started = time.perf_counter()
    state.loaded = Student.load(folder, engine=engine, threads=threads, device=device)
    state.synchronize()
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "baseline": before,
        "after": memory.read(),
        "gpu": memory.gpu(state),
        "labels": list(state.student.labels),
        "max_length": int(state.student.max_length),
        "threads": state.student.engine.threads,
        "dtype": state.student.engine.dtype,
    }


def idle(state: State) -> dict[str, float]:
    """Seconds that this process has waited for its parent, and the CPU seconds that it used meanwhile."""
    return {"wall": state.idle_wall, "cpu": state.idle_cpu}


def _import_family(family: str) -> None:
    """Torch, and the module of this architecture, which transformers would import lazily while loading."""
    importlib.import_module("torch")
    auto = importlib.import_module("transformers.models.auto")
    module = family.replace("-", "_")
    try:
        importlib.import_module(f"transformers.models.{module}.modeling_{module}")
    except ModuleNotFoundError:
        auto.AutoModelForSequenceClassification  # noqa: B018
