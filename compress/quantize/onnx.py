"""Int8 for ONNX Runtime: weights stored in int8, activations quantized at run time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import onnx_ir
from pydantic import Field

from compress.core.errors import InputError, JobError
from compress.core.quiet import hushed
from compress.quantize.base import QUANTIZERS, FloatStudent, Quantizer, needs_reduced_range, weight_facts
from compress.quantize.onnx_tables import quantize_tables, unfold_transposed, weights_by_type

FILE = "model.onnx"


@QUANTIZERS.register("onnx")
class Onnx(Quantizer):
    """Dynamic int8 through `transformers.exporters` (`OnnxRuntimeQuantizer`), embeddings included.

    Weights of matrix products become symmetric int8 with one scale for each output channel; activations become uint8
    with one scale for the whole batch, computed at run time, so an output depends a little on its neighbours in the
    batch. Embedding tables become int8 with one scale for each row, which ONNX Runtime's own quantizer cannot do (it
    has one scale for a whole table). LayerNorm, softmax, GELU and biases stay float32.
    """

    engine: ClassVar[str] = "onnx"
    starts_from: ClassVar[str] = "onnx"

    scheme: Literal["dynamic"] = Field("dynamic", description="activations are quantized at run time, no calibration")
    per_channel: bool = Field(True, description="one weight scale for each output channel instead of each matrix")
    embeddings: bool = Field(True, description="embedding tables to int8 too, one scale for each row")
    reduce_range: Literal["auto"] | bool = Field(
        "auto",
        description="weights of 7 bits, for x86 CPUs without VNNI, whose 16-bit sums overflow; auto looks at this CPU, "
        "so set it to true when the student is quantized on a newer CPU than it will run on",
    )

    def quantize(self, student: FloatStudent, out: Path) -> dict[str, Any]:
        """Quantize the exported file into `out/model.onnx`; the facts count the types of its stored numbers."""
        if student.exported is None:
            raise InputError("the quantizer `onnx` starts from an exported file; export the student to ONNX first")
        reduced = needs_reduced_range() if self.reduce_range == "auto" else self.reduce_range
        graph = onnx_ir.load(student.exported)
        onnx_ir.external_data.load_to_model(graph)
        unfold_transposed(graph)
        with hushed():
            graph = self._products(graph, reduced)
        if self.embeddings:
            quantize_tables(graph)
        onnx_ir.save(graph, out / FILE)
        int8, other = weights_by_type(onnx_ir.load(out / FILE))
        if int8 == 0:
            raise JobError(f"{student.exported}: nothing in it could be quantized; is it a transformer's graph?")
        return {
            "file": FILE,
            "dtype": "int8",
            "scheme": self.scheme,
            "reduce_range": reduced,
            "weights": weight_facts(int8, other),
        }

    def _products(self, graph: onnx_ir.Model, reduced: bool) -> onnx_ir.Model:
        # Imported here, since this loads torchao where it is installed, which chats; `hushed` is on.
        from transformers.exporters.configs import ExportFormat
        from transformers.exporters.quantizers.quantizer_onnxruntime import (
            OnnxRuntimeDynamicConfig,
            OnnxRuntimeQuantizer,
        )

        config = OnnxRuntimeDynamicConfig(
            op_types_to_quantize=["MatMul", "Gemm"], per_channel=self.per_channel, reduce_range=reduced
        )
        return OnnxRuntimeQuantizer(config).quantize(graph, {}, ExportFormat.ONNX)
