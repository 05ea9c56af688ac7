"""How many multiply-adds one text costs, from the stored weights or the ONNX graph; no model is trained or timed."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress.bench.weights import Tensor, is_projection, part_of, tensors_of

_TABLE = re.compile(r"(embeddings?|relative_attention_bias)\.weight$")
_QUERY = re.compile(r"(^|\.)(query|query_proj|q_lin|q_proj|q)(\.1)?\.(weight|up)$")
_FUSED = re.compile(r"(^|\.)(Wqkv|qkv|query_key_value|in_proj)\.weight$")
_INT8 = ("MatMulInteger", "QLinearMatMul", "QGemm", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QAttention")
_FLOAT = ("MatMul", "Gemm", "FusedMatMul", "FusedGemm", "Attention", "MultiHeadAttention")
# Where the second matrix stands among the inputs.
_SECOND = {"QLinearMatMul": 3, "QGemm": 3}


@dataclass(frozen=True)
class Work:
    """Multiply-adds of one text, and those of them that run in int8."""

    total: float
    int8: float

    @property
    def flops(self) -> float:
        """Floating-point operations (or their int8 kin): two for a multiply-add."""
        return 2 * self.total

    @property
    def int8_share(self) -> float:
        """The share of multiply-adds that run in int8."""
        return self.int8 / self.total if self.total else 0.0


def of_weights(path: Path, length: int, task: str, config: dict[str, Any]) -> Work:
    """The work of a `.safetensors` model on a text of `length` tokens.

    Every stored matrix that is no lookup table is multiplied once for each token (the head of a sentence task once for
    each text), and attention scores once more with the width of its query. Norms, activations and biases are left out.
    """
    tensors = [one for one in tensors_of(path) if len(one.shape) == 2 and one.name.endswith((".weight", ".up"))]
    matrices = [one for one in tensors if not _TABLE.search(one.name) and _multiplied(one.name)]
    repeats = _repeats(matrices, config)
    halves = {f"{one.name.removesuffix('.up')}.weight" for one in matrices if one.name.endswith(".up")}
    total = int8 = 0.0
    for one in matrices:
        head = part_of(one.name) == "head"
        tokens = 1 if head and task in ("classify", "multilabel", "regress") else length
        work = one.elements * tokens * (1 if head or is_projection(one.name) else repeats)
        total += work
        int8 += work if one.kind == "I8" else 0.0
        # Of a product of two matrices, the second has the width of the query.
        total += 2 * length * length * _query_width(one) * repeats if one.name not in halves else 0.0
    if task == "mask" and not any("decoder" in one.name or "projector" in one.name for one in matrices):
        total += _tied_decoder(tensors, length)
    return Work(total, int8)


def of_graph(path: Path, length: int) -> Work:
    """The work of an ONNX graph on a text of `length` tokens, from the shapes that its matrix products get in one run.

    Raises ValueError when the graph cannot be run so.
    """
    import onnx
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, RuntimeException

    model = onnx.load(str(path))
    nodes = [node for node in model.graph.node if node.op_type in (*_INT8, *_FLOAT)]
    names = [name for node in nodes for name in (node.input[0], node.input[_SECOND.get(node.op_type, 1)]) if name]
    try:
        shapes = _shapes(model, path, sorted(set(names)), length)
    except (Fail, InvalidArgument, InvalidGraph, RuntimeException) as error:
        raise ValueError(f"its graph could not be run to count ({' '.join(str(error).split())[:160]})") from error
    makers = {output: node.op_type for node in model.graph.node for output in node.output}
    total = int8 = 0.0
    for node in nodes:
        work, scores = _work_of(node, shapes)
        total += work + scores
        quantized = node.op_type in _INT8 or all(makers.get(name) == "DequantizeLinear" for name in node.input[:2])
        int8 += work if quantized else 0.0
    return Work(total, int8)


def _multiplied(name: str) -> bool:
    return part_of(name) != "embeddings" or is_projection(name)


def _repeats(matrices: Sequence[Tensor], config: dict[str, Any]) -> float:
    """How often the stored layers are run: ALBERT stores one and runs it for every layer."""
    if not any("albert_layer_groups" in one.name for one in matrices):
        return 1.0
    return int(config.get("num_hidden_layers", 1)) / max(int(config.get("num_hidden_groups", 1)), 1)


def _query_width(one: Tensor) -> float:
    if _QUERY.search(one.name):
        return one.shape[0]
    return one.shape[0] / 3 if _FUSED.search(one.name) else 0.0


def _tied_decoder(tensors: Sequence[Tensor], length: int) -> float:
    """A mask model's last product with the table of its embeddings, which is stored once."""
    return length * max((one.elements for one in tensors if "word_embeddings" in one.name), default=0)


def _shapes(model: Any, path: Path, names: Sequence[str], length: int) -> dict[str, tuple[int, ...]]:
    """Run the graph once on `[1, length]` with a Shape node behind each named value."""
    import onnx
    import onnxruntime

    stored = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    asked = [name for name in names if name not in stored]
    beside = path.with_name(f"{path.name}.data")
    for index, name in enumerate(asked):
        model.graph.node.append(onnx.helper.make_node("Shape", [name], [f"counted_{index}"]))
        model.graph.output.append(onnx.helper.make_tensor_value_info(f"counted_{index}", onnx.TensorProto.INT64, None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if beside.is_file():
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {one.name: np.full((1, length), int("mask" in one.name), np.int64) for one in session.get_inputs()}
    found = session.run([f"counted_{index}" for index in range(len(asked))], feeds) if asked else []
    return stored | {name: tuple(int(size) for size in shape) for name, shape in zip(asked, found, strict=True)}


def _work_of(node: Any, shapes: dict[str, tuple[int, ...]]) -> tuple[float, float]:
    """Multiply-adds of a node's product with its weights, and of attention scores inside it."""
    left = shapes[node.input[0]]
    right = shapes.get(node.input[_SECOND.get(node.op_type, 1)], ())
    if "Attention" in node.op_type:
        tokens, width = left[-2], left[-1]
        fused = node.domain == "com.microsoft" and node.op_type != "MultiHeadAttention"
        return (float(math.prod(left) * right[-1]) if fused else 0.0), 2.0 * tokens * tokens * width
    flipped = {attribute.name: attribute.i for attribute in node.attribute}
    rows, inner = (left[-1], left[-2]) if flipped.get("transA") else (left[-2] if len(left) > 1 else 1, left[-1])
    columns = right[-2] if flipped.get("transB") else (right[-1] if len(right) > 1 else 1)
    stacked = np.broadcast_shapes(left[:-2], right[:-2])
    return float(math.prod(stacked) * rows * inner * columns), 0.0
