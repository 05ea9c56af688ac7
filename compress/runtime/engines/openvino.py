"""OpenVINO on the CPU: IR files (`.xml` with its `.bin`), in float32 unless bf16 is asked for; without torch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.core.errors import InputError
from compress.runtime.engines.base import Engine

DEVICE = "CPU"
HINTS = {"f32": "float32", "bf16": "bfloat16"}
_TELEMETRY = "openvino_telemetry"
_INT8 = ("i8", "u8", "i4", "u4")


def _silent() -> Any:
    """The package `openvino`. As it comes it reports every import of itself to its maker, over the network.

    With None in its place its telemetry module cannot be imported, and OpenVINO takes its own silent stand-in.
    """
    loaded = sys.modules.get(_TELEMETRY)
    if loaded is None:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    finally:
        if loaded is None:
            sys.modules.pop(_TELEMETRY, None)


openvino = _silent()


class OpenvinoEngine(Engine):
    """One compiled model, one stream, one request at a time.

    Left to itself OpenVINO computes "float32" models in bfloat16 wherever the CPU has it, so the precision is always
    said, read back, and reported. Its threads are not bound to cores: that would fight with whatever else is bound.
    """

    name = "openvino"

    def __init__(self, compiled: Any, dtype: str, path: Path) -> None:
        self.request = compiled.create_infer_request()
        self.dtype = dtype
        self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        self.path = path
        self.feeds = {name for port in compiled.inputs for name in port.get_names()}
        names = [name for port in compiled.outputs for name in port.get_names()]
        self.output = compiled.output("logits" if "logits" in names else 0)

    @classmethod
    def open(
        cls, folder: Path, about: dict[str, Any], threads: int, device: str = "cpu", variants: Sequence[str] = ()
    ) -> OpenvinoEngine:
        """Compile `about.engine.openvino.file`. Raises InputError for damaged files and a format the CPU lacks."""
        if device != "cpu":
            raise InputError(f"device: {device!r} is not for the engine openvino, which runs on the CPU; use cpu")
        path = folder / about["engine"]["openvino"]["file"]
        hint = "bf16" if "bf16" in variants else "f32"
        core = openvino.Core()
        _check_files(path)
        try:
            model = core.read_model(str(path))
            compiled = core.compile_model(model, DEVICE, settings(threads, hint))
        except RuntimeError as error:
            raise InputError(f"{path}: cannot be loaded ({_short(error)}); copy the folder again") from error
        got = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if got != hint:
            raise InputError(f"engine: openvino:{hint} was asked for, and OpenVINO computes in {got} on this CPU")
        return cls(compiled, _dtype(model, hint), path)

    def run(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """Logits of the output `logits` (or the first)."""
        feeds = {key: value for key, value in batch.items() if key in self.feeds}
        try:
            found = self.request.infer(feeds, share_inputs=True, share_outputs=True)[self.output]
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{self.path}: does not take these inputs ({_short(error)})") from error
        # A copy: the array lies in the request's own memory, which the next call overwrites.
        return np.array(found, dtype=np.float32)

    def hidden(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """Never given: the exported graph ends in the logits."""
        raise InputError(f"{self.path}: gives logits only, no embeddings; use the float student (torch)")


def settings(threads: int, hint: str) -> dict[str, Any]:
    """What is said to OpenVINO, so that nothing is left to its guess of this machine."""
    return {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
        "ENABLE_HYPER_THREADING": True,
        "SCHEDULING_CORE_TYPE": "ANY_CORE",
    }


def _check_files(path: Path) -> None:
    """Both files are there and the graph is whole: handed anything else, OpenVINO tries it as TensorFlow, aloud."""
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise InputError(f"{weights}: missing, though {path.name} needs it; copy the folder again")
    text = path.read_bytes()
    if not (text.startswith(b"<?xml") and text.rstrip().endswith(b"</net>")):
        raise InputError(f"{path}: cannot be loaded (not a whole OpenVINO graph); copy the folder again")


def _dtype(model: Any, hint: str) -> str:
    """int8 when any matrix is stored so, else the precision that is computed with."""
    constants = [node for node in model.get_ops() if node.get_type_name() == "Constant"]
    matrices = [node for node in constants if len(node.get_output_shape(0)) > 1]
    return "int8" if any(node.get_element_type().get_type_name() in _INT8 for node in matrices) else HINTS[hint]


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


ENGINE = OpenvinoEngine
