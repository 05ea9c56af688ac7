"""ONNX Runtime: fp32 and int8 graphs, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state

from compress.core.errors import InputError
from compress.runtime.engines.base import Engine

_HIDDEN = "last_hidden_state"
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# ONNX Runtime's errors have no base class of their own.
_FAULTS = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NoSuchFile,
           state.NotImplemented, state.RuntimeException, state.NoModel, state.EPFail)  # fmt: skip


class OnnxEngine(Engine):
    """One session with pinned threads.

    Threads spin while a call runs, which a chain of small operators needs, and stop at its end: left spinning they
    would take a core from the rest of the app, or from whatever else is being measured.
    """

    name = "onnx"

    def __init__(self, session: Any, dtype: str, threads: int, path: Path) -> None:
        self.session = session
        self.dtype = dtype
        self.threads = threads
        self.path = path
        self.feeds = {node.name for node in session.get_inputs()}
        self.outputs = [node.name for node in session.get_outputs()]

    @classmethod
    def open(
        cls, folder: Path, about: dict[str, Any], threads: int, device: str = "cpu", variants: Sequence[str] = ()
    ) -> OnnxEngine:
        """Load `about.engine.onnx.file`. Raises InputError for a damaged graph or a device that is not there."""
        facts = about["engine"]["onnx"]
        path = folder / facts["file"]
        provider = _PROVIDERS.get(device, device)
        if provider not in ort.get_available_providers():
            raise InputError(
                f"device: {device!r} is not available to onnxruntime (pip install onnxruntime-gpu for cuda)"
            )
        try:
            session = ort.InferenceSession(str(path), _options(threads), providers=[provider])
        except _FAULTS as error:
            raise InputError(f"{path}: cannot be loaded ({_short(error)}); copy the folder again") from error
        return cls(session, str(facts.get("dtype", "unknown")), threads, path)

    def run(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """Logits of the graph's output `logits` (or its first)."""
        return self._output("logits" if "logits" in self.outputs else self.outputs[0], batch)

    def hidden(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """The graph's output `last_hidden_state`. Raises InputError when it has none."""
        if _HIDDEN not in self.outputs:
            raise InputError(f"{self.path}: its graph gives logits only, no embeddings; use the float student (torch)")
        return self._output(_HIDDEN, batch)

    def _output(self, name: str, batch: dict[str, np.ndarray]) -> np.ndarray:
        feeds = {key: value for key, value in batch.items() if key in self.feeds}
        try:
            (found,) = self.session.run([name], feeds)
        except _FAULTS as error:
            raise InputError(f"{self.path}: its graph does not take these inputs ({_short(error)})") from error
        return np.asarray(found, dtype=np.float32)


def _options(threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 4
    return options


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


ENGINE = OnnxEngine
