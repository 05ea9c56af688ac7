"""The stored tensors of an OpenVINO graph, from its `.xml` alone: names, shapes and bytes of its constants."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from compress.core.errors import InputError

_LEARNT = ("f32", "f16", "bf16", "f64", "i8", "u8", "i4", "u4")


def constants(path: Path) -> Iterator[tuple[str, tuple[int, ...], int, str, bool]]:
    """`(name, shape, bytes, element type, learnt)` of each constant; bytes that two of them share come once.

    learnt: numbers with a shape; indices, scalars and what quantization adds are not. Raises InputError for a damaged
    file.
    """
    try:
        layers = ElementTree.parse(path).getroot().iter("layer")
    except (OSError, ElementTree.ParseError) as error:
        raise InputError(f"{path}: not a whole OpenVINO graph ({error}); copy or make the model again") from error
    seen: set[str] = set()
    for layer in layers:
        data = layer.find("data")
        if layer.get("type") != "Const" or data is None or data.get("offset", "") in seen:
            continue
        seen.add(data.get("offset", ""))
        shape = tuple(int(size) for size in (data.get("shape") or "").split(",") if size.strip())
        kind, name = data.get("element_type", ""), layer.get("name", "")
        learnt = math.prod(shape) > 1 and kind in _LEARNT and not name.endswith(("scale", "zero_point"))
        yield name, shape, int(data.get("size", 0)), kind, learnt
