"""Which bytes of a model's files are embeddings, encoder and head, by tensor name and without loading the model."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.bench.weights_ir import constants
from compress.core.errors import InputError

PARTS = ("embeddings", "encoder", "head")
_EMBEDDINGS = re.compile(
    r"(^|\.)(embeddings|embed_tokens|tok_embeddings|word_embeddings|wte|wpe|shared|embeddings_project"
    r"|embedding_hidden_mapping_in)(\.|$)"
)
_PROJECTION = re.compile(r"(^|\.)(embeddings_project|embedding_hidden_mapping_in|embed_proj)\.")
_HEAD = re.compile(
    r"(^|\.)(classifier|pre_classifier|score|qa_outputs|cls|lm_head|head|pooler|predictions|generator_predictions"
    r"|generator_lm_head|vocab_transform|vocab_layer_norm|vocab_projector|regressor)(\.|_|$)"
)
_HOPS = 6


@dataclass(frozen=True)
class Tensor:
    """One stored tensor: name (for an unnamed one in ONNX, of the module that uses it), elements, bytes, weight.

    weight: whether it is learnt; scales, zero points, indices and constants are not. kind: as the file names its number
    format (`F32`, `I8`).
    """

    name: str
    elements: int
    size: int
    weight: bool = True
    shape: tuple[int, ...] = ()
    kind: str = ""


def part_of(name: str) -> str:
    """`embeddings`, `encoder` or `head`; a pooler counts to the head."""
    if _HEAD.search(name):
        return "head"
    return "embeddings" if _EMBEDDINGS.search(name) else "encoder"


def is_projection(name: str) -> bool:
    """Whether a tensor is the second factor of factorized embeddings: it counts to them, and is multiplied, once."""
    return bool(_PROJECTION.search(name))


def tensors_of(path: Path) -> list[Tensor]:
    """The tensors of a file that `readable` knows. Raises InputError when it cannot be read."""
    if path.suffix == ".xml":
        return [Tensor(name, math.prod(shape), size, learnt, shape, kind)
                for name, shape, size, kind, learnt in constants(path)]  # fmt: skip
    return list(_onnx(path) if path.suffix == ".onnx" else _safetensors(path))


def readable(path: Path) -> bool:
    """Whether `tensors_of` can read the file: `.safetensors`, `.onnx`, and the `.xml` of an OpenVINO graph."""
    return path.suffix in (".safetensors", ".onnx", ".xml")


def _safetensors(path: Path) -> Iterator[Tensor]:
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header: dict[str, Any] = json.loads(stream.read(length))
    except (OSError, ValueError, struct.error) as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}); copy or make the model again") from error
    for name, facts in header.items():
        if name != "__metadata__":
            start, end = facts["data_offsets"]
            shape = tuple(facts["shape"])
            learnt = not name.endswith("_scale")
            yield Tensor(name, math.prod(shape), end - start, learnt, shape, facts["dtype"])


def _onnx(path: Path) -> Iterator[Tensor]:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except (OSError, DecodeError) as error:
        raise InputError(f"{path}: not a whole ONNX file ({error}); copy or make the model again") from error
    users = _users(graph)
    for tensor in graph.initializer:
        elements = math.prod(tensor.dims)
        name = tensor.name if "." in tensor.name else _module_of(tensor.name, users) or tensor.name
        learnt = bool(tensor.dims) and not tensor.name.endswith(("_scale", "_zero_point"))
        integers = tensor.data_type in (onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL)
        kind = str(onnx.TensorProto.DataType.Name(tensor.data_type))
        yield Tensor(name, elements, _onnx_bytes(tensor), learnt and not integers, tuple(tensor.dims), kind)


def _onnx_bytes(tensor: Any) -> int:
    """Bytes of the values, in the file or beside it."""
    import onnx

    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return int(math.prod(tensor.dims) * kind.itemsize)


def _users(graph: Any) -> dict[str, list[Any]]:
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    return users


def _module_of(name: str, users: dict[str, list[Any]]) -> str:
    """The module path that torch's exporter noted on the first node downstream that still has one.

    The exporter folds the transpose of a Linear's weight into an unnamed constant, and the quantizer's own nodes carry
    no notes.
    """
    for _ in range(_HOPS):
        nodes = users.get(name)
        if not nodes:
            return ""
        for note in nodes[0].metadata_props:
            if note.key == "namespace":
                return _innermost(note.value)
        name = nodes[0].output[0]
    return ""


def _innermost(namespace: str) -> str:
    """`bert.encoder.layer.0.attention.self.query` of `: Model/bert: BertModel/.../linear: aten.linear.default`."""
    modules = [scope.partition(":")[0] for scope in namespace.split("/")[:-1]]
    return next((module for module in reversed(modules) if "." in module or module), "")
