"""OpenVINO IR, read from the ONNX export by OpenVINO's own reader and written as `.xml` with `.bin`."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from compress.core.errors import InputError, JobError
from compress.export.base import EXPORTERS, Exporter, refuse_difference
from compress.export.onnx import Logits, Onnx, eager_logits
from compress.runtime.engines.base import open_engine
from compress.runtime.engines.names import ENGINES


@EXPORTERS.register("openvino")
class Openvino(Exporter):
    """`openvino_model.xml` and `.bin` with dynamic batch and length, float32, and the output `logits`.

    It goes through the ONNX export, which is proven against the eager model first. `openvino.convert_model`, the other
    way, sends usage data to Intel; reading a file does not. The weights stay float32 (OpenVINO's own default halves
    them); what they are computed in is said when the student is opened: `openvino`, or `openvino:bf16`.
    """

    engine: ClassVar[str] = "openvino"
    file: ClassVar[str] = "openvino_model.xml"

    tolerance: float = Field(1e-4, gt=0, description="largest absolute difference of a logit from the eager model")

    def export(self, model: nn.Module, batches: Sequence[dict[str, Tensor]], longest: int, out: Path) -> dict[str, Any]:
        """Export to ONNX beside, convert, and prove the files equal to eager on every batch."""
        entry = ENGINES[self.engine]
        if importlib.util.find_spec(entry.package) is None:
            raise InputError(f"the exporter openvino needs the package {entry.package}; run: {entry.install}")
        with tempfile.TemporaryDirectory(prefix="export-") as beside:
            facts = Onnx(tolerance=self.tolerance).export(model, batches, longest, Path(beside))
            convert(Path(beside) / facts["file"], out / self.file)
        difference = parity(out, self.file, batches, eager_logits(model, batches))
        refuse_difference(out / self.file, difference, self.tolerance)
        return {"file": self.file, "dtype": "float32", "difference_from_eager": difference}


def convert(source: Path, target: Path) -> None:
    """An ONNX file as IR. Raises JobError when OpenVINO cannot read it."""
    from compress.runtime.engines.openvino import openvino

    try:
        graph = openvino.Core().read_model(str(source))
        openvino.save_model(graph, str(target), compress_to_fp16=False)
    except RuntimeError as error:
        raise JobError(f"OpenVINO cannot convert the exported graph ({' '.join(str(error).split())[:300]})") from error


def parity(folder: Path, file: str, batches: Sequence[dict[str, Tensor]], expected: Logits) -> float:
    """Largest absolute difference between the files' logits and the expected ones; infinite for a wrong shape."""
    engine = open_engine("openvino", folder, {"engine": {"openvino": {"file": file}}}, 1, "cpu")
    worst = 0.0
    for batch, want in zip(batches, expected, strict=True):
        got = engine.run({name: tensor.numpy() for name, tensor in batch.items()})
        if got.shape != want.shape:
            return float("inf")
        worst = max(worst, float(np.abs(got - want).max()))
    return worst
