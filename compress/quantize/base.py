"""What a quantizer is: a float student folder in, a smaller student folder out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compress.core.options import Options
from compress.core.registry import Catalogue


class Quantizer(Options):
    """Base of every quantization method."""

    @abstractmethod
    def quantize(self, model: Path, texts: Sequence[Any], out: Path) -> dict[str, Any]:
        """Write the quantized student's files into `out` and return facts for the manifest.

        model: a student folder. texts: rows in the corpus's own length mix, for calibration and export.
        The facts hold `engine` (`onnx`, `torch`), `file`, `dtype` and how many parameters became int8.
        """


QUANTIZERS: Catalogue[Quantizer] = Catalogue("quantizer", "quantizers", ("compress.quantize",))
