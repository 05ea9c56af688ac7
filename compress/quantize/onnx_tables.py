"""Embedding tables of an ONNX graph: int8 rows, each with its own scale."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
import onnx_ir

from compress.quantize.rows import quantize_rows, same_rows

INT8 = (onnx_ir.DataType.INT8, onnx_ir.DataType.UINT8)
FLOATS = (onnx_ir.DataType.FLOAT, onnx_ir.DataType.DOUBLE, onnx_ir.DataType.FLOAT16, onnx_ir.DataType.BFLOAT16)


def unfold_transposed(model: onnx_ir.Model) -> None:
    """Turn `MatMul(x, Transpose(W))` into a product with a stored `Wᵀ`, the only form that gets quantized.

    A masked-LM head that is tied to the embeddings has this form; `quantize_tables` makes one table of the two again.
    """
    for node in list(model.graph):
        source = node.inputs[0] if node.inputs else None
        if node.op_type != "Transpose" or not _is_matrix(source):
            continue
        transposed = _add(model.graph, f"{source.name}.transposed", np.ascontiguousarray(_array(source).T))
        _replace(model.graph, node, transposed)


def quantize_tables(model: onnx_ir.Model) -> None:
    """Replace every float table that is looked up by row (`Gather`) by int8 rows `[v, d]` and scales `[v, 1]`."""
    graph = model.graph
    done: dict[onnx_ir.Value, tuple[onnx_ir.Value, onnx_ir.Value]] = {}
    for node in list(graph):
        table = node.inputs[0] if node.inputs else None
        if node.op_type != "Gather" or not _is_matrix(table) or _axis(node) != 0:
            continue
        ids = node.inputs[1]
        if table not in done:
            done[table] = _quantized_table(graph, table)
        rows, scales = done[table]
        found, factor = onnx_ir.node("Gather", [rows, ids]), onnx_ir.node("Gather", [scales, ids])
        plain = onnx_ir.node("Cast", found.outputs, attributes={"to": onnx_ir.DataType.FLOAT})
        product = onnx_ir.node("Mul", [plain.outputs[0], factor.outputs[0]])
        graph.insert_before(node, [found, factor, plain, product])
        _replace(graph, node, product.outputs[0])
    _drop_unused(graph)


def weights_by_type(model: onnx_ir.Model) -> tuple[int, int]:
    """How many stored numbers are int8, and how many are floating point."""
    sizes = [(value.dtype, _array(value).size) for value in model.graph.initializers.values()]
    return sum(n for kind, n in sizes if kind in INT8), sum(n for kind, n in sizes if kind in FLOATS)


def _quantized_table(graph: onnx_ir.Graph, table: onnx_ir.Value) -> tuple[onnx_ir.Value, onnx_ir.Value]:
    weights = _array(table)
    rows, scales = quantize_rows(weights)
    tied = _tied_product(graph, weights)
    if tied is not None:
        matrix, its_scales = tied
        rows, scales = np.ascontiguousarray(_array(matrix).T), _array(its_scales).astype(np.float32)
    stored = _add(graph, f"{table.name}.int8", rows)
    if tied is not None:
        # Runtimes fold the transposition of a constant when they load, so the file holds it once at no cost in speed.
        turned = onnx_ir.node("Transpose", [stored], attributes={"perm": [1, 0]})
        graph.insert_before(graph[0], turned)
        matrix.replace_all_uses_with(turned.outputs[0])
    return stored, _add(graph, f"{table.name}.scale", scales.reshape(-1, 1))


def _tied_product(graph: onnx_ir.Graph, weights: np.ndarray) -> tuple[onnx_ir.Value, onnx_ir.Value] | None:
    """The int8 matrix `[d, v]` and scales `[v]` of a product that was quantized from the same table, if any."""
    for name, value in graph.initializers.items():
        scales = graph.initializers.get(name.removesuffix("_quantized") + "_scale")
        if value.dtype != onnx_ir.DataType.INT8 or scales is None:
            continue
        matrix, steps = _array(value), _array(scales)
        fits = matrix.shape == weights.shape[::-1] and steps.shape == weights.shape[:1]
        if fits and same_rows(weights, matrix.T, steps):
            return value, scales
    return None


def _is_matrix(value: onnx_ir.Value | None) -> TypeGuard[onnx_ir.Value]:
    if value is None or not value.is_initializer() or value.dtype != onnx_ir.DataType.FLOAT:
        return False
    return value.shape is not None and len(value.shape) == 2


def _axis(node: onnx_ir.Node) -> int:
    attribute = node.attributes.get("axis")
    return 0 if attribute is None else attribute.as_int()


def _array(value: onnx_ir.Value) -> np.ndarray:
    assert value.const_value is not None
    return value.const_value.numpy()


def _add(graph: onnx_ir.Graph, name: str, array: np.ndarray) -> onnx_ir.Value:
    tensor = onnx_ir.tensor(array, name=name)
    value = onnx_ir.Value(
        name=name, shape=onnx_ir.Shape(array.shape), type=onnx_ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def _replace(graph: onnx_ir.Graph, node: onnx_ir.Node, value: onnx_ir.Value) -> None:
    node.outputs[0].replace_all_uses_with(value)
    graph.remove(node, safe=True)


def _drop_unused(graph: onnx_ir.Graph) -> None:
    for name in [name for name, value in graph.initializers.items() if not value.uses()]:
        del graph.initializers[name]
