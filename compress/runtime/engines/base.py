"""What an engine is: opens a folder, runs padded batches; and which ones there are, the fastest first."""

from __future__ import annotations

import importlib
import importlib.util
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from compress.core.errors import InputError, did_you_mean


class Engine(ABC):
    """A loaded model. dtype: that of its weights. threads: how many it computes with."""

    name: ClassVar[str]
    dtype: str
    threads: int

    @classmethod
    @abstractmethod
    def open(cls, folder: Path, about: dict[str, Any], threads: int, device: str = "cpu") -> Engine:
        """Load the form of this engine. about: the folder's facts. Raises InputError for one that is damaged."""

    @abstractmethod
    def run(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """Logits `[b, c]` or `[b, s, c]`, float32, of int64 ids and masks `[b, s]`."""

    @abstractmethod
    def hidden(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """The last layer's states `[b, s, d]`, float32. Raises InputError when the form does not give them."""


@dataclass(frozen=True)
class EngineEntry:
    """Where an engine lives, the package that it needs, and how to get it."""

    module: str
    package: str
    install: str


ENGINES: dict[str, EngineEntry] = {
    "onnx": EngineEntry("compress.runtime.engines.onnx", "onnxruntime", "pip install onnxruntime"),
    "torch": EngineEntry("compress.runtime.engines.torch", "transformers", 'pip install "stillroom[train]"'),
}


def choose(wanted: str, carried: dict[str, Any], folder: Path) -> str:
    """The engine by name, or for `auto` the fastest that the folder carries and that is installed.

    Raises InputError for an unknown engine, one that the folder has no form for, and a missing package.
    """
    if wanted != "auto" and wanted not in ENGINES:
        raise InputError(f"engine: {wanted!r} is not known{did_you_mean(wanted, ENGINES)} (auto, {', '.join(ENGINES)})")
    if wanted != "auto" and wanted not in carried:
        raise InputError(
            f"{folder}: has no form for the engine {wanted} (it has {', '.join(carried)}); use engine=auto"
        )
    names = [name for name in ENGINES if name in carried] if wanted == "auto" else [wanted]
    for name in names:
        if importlib.util.find_spec(ENGINES[name].package) is not None:
            return name
    lines = " or ".join(ENGINES[name].install for name in names)
    if not lines:
        raise InputError(f"{folder}: holds a form for {', '.join(carried)}, which this version cannot run")
    raise InputError(f"{folder}: needs the engine {' or '.join(names)}, which is not installed; run: {lines}")


def open_engine(name: str, folder: Path, about: dict[str, Any], threads: int, device: str) -> Engine:
    """Import one engine and open the folder with it; no other engine is imported."""
    try:
        module = importlib.import_module(ENGINES[name].module)
    except ImportError as error:
        raise InputError(f"the engine {name} cannot be imported ({error}); run: {ENGINES[name].install}") from error
    engine: Engine = module.ENGINE.open(folder, about, threads, device)
    return engine
