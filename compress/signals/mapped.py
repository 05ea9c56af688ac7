"""A safetensors file as memory-mapped arrays whose pages can be handed back.

safetensors' own readers give arrays too, but keep every page that was ever touched in the process: after an epoch a
store of 60 GB would stand in its memory. Here pages can be dropped, and the kernel's cache keeps what is worth it.
"""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compress.core.errors import InputError

_NUMPY = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I32": "<i4", "I64": "<i8", "U32": "<u4", "U64": "<u8"}
REMEDY = "copy the signals again, or delete them and run their step again"


class Mapped:
    """Arrays of one file by name; bfloat16 comes as its bits (`uint16`), `tensor` gives those their meaning back."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as stream:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            start = 8 + int.from_bytes(self._map[:8], "little")
            header: dict[str, Any] = json.loads(self._map[8:start])
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as signals ({error}); {REMEDY}") from error
        header.pop("__metadata__", None)
        ends = [start + spec["data_offsets"][1] for spec in header.values()]
        if len(self._map) != max(ends, default=start):
            raise InputError(f"{path}: {len(self._map)} bytes where its header says {max(ends)} (truncated?); {REMEDY}")
        self.bits = {name: spec["dtype"] for name, spec in header.items()}
        self.arrays = {
            name: np.frombuffer(
                self._map,
                dtype=_NUMPY[spec["dtype"]],
                count=int(np.prod(spec["shape"], dtype=np.int64)),
                offset=start + spec["data_offsets"][0],
            ).reshape(spec["shape"])
            for name, spec in header.items()
        }

    def release(self) -> None:
        """Hand the touched pages back (where the system can); the arrays stay valid and are read again when asked."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def tensor(values: np.ndarray[Any, Any], bits: str) -> Tensor:
    """A float32 tensor (or an integer one) of stored values; `bits` is their safetensors dtype."""
    if bits == "BF16":
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16).float()
    found = torch.from_numpy(values)
    return found.float() if found.is_floating_point() else found
