"""ONNX through `transformers.exporters` (torch.export), for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import onnx_ir
import onnxruntime
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.export import Dim

from compress.core.quiet import hushed
from compress.export.base import EXPORTERS, Exporter, refuse_difference

PROTOBUF_LIMIT = 2_000_000_000
Logits = list[np.ndarray]


@EXPORTERS.register("onnx")
class Onnx(Exporter):
    """One `model.onnx` with dynamic batch and length, float32, and the output `logits`.

    The graph stays plain: ONNX Runtime fuses at load time what helps on its machine, and the fusions that the exporter
    offers made int8 slower where they were measured.
    """

    engine: ClassVar[str] = "onnx"
    file: ClassVar[str] = "model.onnx"

    tolerance: float = Field(1e-4, gt=0, description="largest absolute difference of a logit from the eager model")

    def export(self, model: nn.Module, batches: Sequence[dict[str, Tensor]], longest: int, out: Path) -> dict[str, Any]:
        """Trace, save as a single file (weights beside it from 2 GB on) and prove equal to eager on every batch."""
        model.eval()
        expected = eager_logits(model, batches)
        with hushed():
            graph = trace(model, batches[0], longest)
        save(graph, out / self.file)
        difference = parity(out / self.file, batches, expected)
        refuse_difference(out / self.file, difference, self.tolerance)
        return {
            "file": self.file,
            "dtype": "float32",
            "opset": graph.opset_imports[""],
            "difference_from_eager": difference,
        }


def eager_logits(model: nn.Module, batches: Sequence[dict[str, Tensor]]) -> Logits:
    """Logits of the eager model, one array for each batch."""
    with torch.inference_mode():
        return [cast(Tensor, model(**batch).logits).numpy() for batch in batches]


def trace(model: nn.Module, sample: dict[str, Tensor], longest: int) -> onnx_ir.Model:
    """The model as an ONNX graph whose axes 0 and 1 are `batch` and `sequence`. The sample needs batch >= 2."""
    from transformers.exporters.configs import OnnxConfig
    from transformers.exporters.exporter_onnx import OnnxExporter

    axes = {0: Dim("batch"), 1: Dim("sequence", max=longest)}
    config = OnnxConfig(dynamic=True, dynamic_shapes=dict.fromkeys(sample, axes))
    exporter: Any = OnnxExporter  # type: ignore[no-untyped-call,unused-ignore]
    exported = exporter().export(model, {name: tensor.clone() for name, tensor in sample.items()}, config=config)
    graph = cast(onnx_ir.Model, exported.program)
    _keep_only_logits(graph)
    _name_axes(graph)
    _drop_traces(graph)
    return graph


def _keep_only_logits(model: onnx_ir.Model) -> None:
    for value in [value for value in model.graph.outputs if value.name != "logits"]:
        model.graph.outputs.remove(value)


def _name_axes(model: onnx_ir.Model) -> None:
    """Give inputs and outputs readable axis names in place of the tracer's symbols."""
    symbols: dict[Any, str] = {}
    for value in model.graph.inputs:
        symbols.update(zip(value.shape or (), ("batch", "sequence"), strict=True))
    for value in [*model.graph.inputs, *model.graph.outputs]:
        value.shape = onnx_ir.Shape([symbols.get(axis, axis) for axis in value.shape or ()])


def _drop_traces(model: onnx_ir.Model) -> None:
    """Remove the Python stack traces that the tracer leaves in nodes: they tell paths of this machine."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for value in [*model.graph.inputs, *model.graph.initializers.values()]:
        value.metadata_props.clear()
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()


def save(model: onnx_ir.Model, path: Path) -> None:
    """Write one file; past protobuf's limit of 2 GB the weights go beside it into `model.onnx.data`."""
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    external = f"{path.name}.data" if size >= PROTOBUF_LIMIT else None
    onnx_ir.save(model, path, external_data=external)


def parity(path: Path, batches: Sequence[dict[str, Tensor]], expected: Logits) -> float:
    """Largest absolute difference between the file's logits and the expected ones; infinite for a wrong shape."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch, want in zip(batches, expected, strict=True):
        (got,) = session.run(["logits"], {name: tensor.numpy() for name, tensor in batch.items()})
        if got.shape != want.shape:
            return float("inf")
        worst = max(worst, float(np.abs(got - want).max()))
    return worst
