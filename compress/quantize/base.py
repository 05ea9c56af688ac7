"""What a quantizer is: an opened float student in, smaller files out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor
from transformers import PreTrainedModel

from compress.core.environment import cpu_flags
from compress.core.options import Options
from compress.core.registry import Catalogue

_WIDE_DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8"}


@dataclass(frozen=True)
class FloatStudent:
    """The student to quantize, in eval mode on the CPU.

    batches: inputs `[b, s]` int64 of several shapes, with padding, on which a saved result must prove itself.
    exported: the file that the exporter `Quantizer.starts_from` wrote, or None when that is empty.
    """

    model: PreTrainedModel
    batches: Sequence[dict[str, Tensor]]
    exported: Path | None = None


class Quantizer(Options):
    """Base of every quantization method.

    engine: the runtime engine that runs the result. starts_from: the name of the exporter whose file it starts from
    (the caller exports and proves it first), or "" when it works on the model itself.
    """

    engine: ClassVar[str]
    starts_from: ClassVar[str] = ""

    @abstractmethod
    def quantize(self, student: FloatStudent, out: Path) -> dict[str, Any]:
        """Write the quantized files into the folder `out` and return facts of its engine for the manifest.

        The facts hold `file`, `dtype` and `weights` (parameters by type, and the int8 share), counted in the written
        file. Raises JobError when nothing was quantized.
        """


QUANTIZERS: Catalogue[Quantizer] = Catalogue("quantizer", "quantizers", ("compress.quantize",))


def needs_reduced_range() -> bool:
    """Whether this CPU multiplies int8 in 16-bit sums that can overflow: x86 without VNNI.

    There vpmaddubsw adds two products of 8 x 8 bits into 16 and saturates silently, so one side must keep to 7 bits.
    """
    flags = set(cpu_flags())
    return "avx2" in flags and not flags & _WIDE_DOT_PRODUCTS


def weight_facts(int8: int, other: int) -> dict[str, Any]:
    """Counts of stored numbers as the manifest holds them."""
    return {"int8": int8, "float32": other, "int8_share": round(int8 / max(1, int8 + other), 6)}
