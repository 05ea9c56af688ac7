"""Zeros in stored dense matrices: what pruning left there costs as much space and time as any other number."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "i1", "U8": "u1"}


def zeros_share(path: Path) -> float | None:
    """The share of zeros in the learnt matrices of a `.safetensors` or `.onnx` file; None when it holds none."""
    zeros = total = 0
    for matrix, zero in _onnx(path) if path.suffix == ".onnx" else _safetensors(path):
        zeros += int(np.count_nonzero(matrix == zero))
        total += matrix.size
    return zeros / total if total else None


def _safetensors(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header: dict[str, Any] = json.loads(stream.read(length))
    held = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length)
    for name, facts in header.items():
        if name != "__metadata__" and len(facts["shape"]) >= 2 and facts["dtype"] in _KINDS:
            start, end = facts["data_offsets"]
            values = held[start:end].view(_KINDS[facts["dtype"]])
            # A bfloat16 is zero when all but its sign is.
            yield (values & 0x7FFF if facts["dtype"] == "BF16" else values), 0


def _onnx(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    import onnx

    graph = onnx.load(str(path)).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for name, tensor in stored.items():
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        if len(tensor.dims) >= 2 and kind.kind in "fiu" and kind.itemsize <= 4 and kind != np.int32:
            point = stored.get(f"{name.removesuffix('_quantized')}_zero_point")
            points = np.unique(onnx.numpy_helper.to_array(point)) if point is not None else np.zeros(1)
            yield onnx.numpy_helper.to_array(tensor), int(points[0]) if len(points) == 1 else 0
