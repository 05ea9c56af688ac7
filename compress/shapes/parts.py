"""The modules whose size may differ from the stock one: what a size is, and a module of another size in its place.

A size is a dictionary as it stands in `config.json`: `in` and `out` of a matrix (and `rank`, where it is the product of
two), `rows` and `width` of a table, `width` of a norm, and `bias` of all but tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from compress.shapes.low_rank import LowRankLinear

Size = dict[str, int]
LARGEST = 1 << 24


def size_of(module: nn.Module) -> Size | None:
    """The size of a module that may be of another size; None for all others."""
    if isinstance(module, LowRankLinear):
        return {"in": module.in_features, "out": module.out_features, "rank": module.rank, **_bias(module)}
    if type(module) is nn.Linear:
        return {"in": module.in_features, "out": module.out_features, **_bias(module)}
    if type(module) is Conv1D:
        return {"in": module.nx, "out": module.nf}
    if type(module) is nn.Embedding:
        return {"rows": module.num_embeddings, "width": module.embedding_dim}
    if type(module) is nn.LayerNorm and len(module.normalized_shape) == 1:
        return {"width": module.normalized_shape[0], **_bias(module)}
    return None


def difference(module: nn.Module, stock: nn.Module) -> Size:
    """What to write of a module that stands where the stock class has another: {} when both are of one size.

    Raises ValueError when they are no kin.
    """
    mine, theirs = size_of(module), size_of(stock)
    low = isinstance(module, LowRankLinear) and type(stock) is nn.Linear
    if mine is None or theirs is None or not (low or type(module) is type(stock)):
        raise ValueError(f"is a {type(module).__name__} where the architecture has a {type(stock).__name__}")
    return {name: value for name, value in mine.items() if theirs.get(name) != value}


def resized(stock: nn.Module, size: Mapping[str, int]) -> nn.Module:
    """A new module of the stock one's kind, device and dtype. Raises ValueError for a size that is none of its own."""
    whole = size_of(stock)
    if whole is None:
        raise ValueError(f"is a {type(stock).__name__}, which has one size only")
    known = {*whole, "rank"} if type(stock) is nn.Linear else {*whole}
    for name, value in size.items():
        if name not in known:
            raise ValueError(f"{name!r} is no size of a {type(stock).__name__} (it has {', '.join(sorted(known))})")
        check(name, value)
    return _made(stock, {**whole, **size})


def check(name: str, value: Any) -> None:
    """Raises ValueError for a size that is no whole number from 1 to 2^24 (0 or 1 for `bias`)."""
    most, least = (1, 0) if name == "bias" else (LARGEST, 1)
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name}: expected a whole number from {least} to {most}, came {value!r:.40}")


def _bias(module: nn.Module) -> Size:
    return {"bias": int(getattr(module, "bias", None) is not None)}


def _made(stock: nn.Module, size: Mapping[str, int]) -> nn.Module:
    weight = stock.get_parameter("weight")
    place: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    if "rank" in size:
        return LowRankLinear(size["in"], size["out"], size["rank"], bool(size["bias"]), **place)
    if isinstance(stock, nn.Linear):
        return nn.Linear(size["in"], size["out"], bool(size["bias"]), **place)
    if isinstance(stock, nn.Embedding):
        return nn.Embedding(size["rows"], size["width"], stock.padding_idx, **place)
    if isinstance(stock, nn.LayerNorm):
        return nn.LayerNorm(size["width"], stock.eps, bias=bool(size["bias"]), **place)
    with torch.device(weight.device):
        return cast(nn.Module, Conv1D(size["out"], size["in"]).to(weight.dtype))  # type: ignore[no-untyped-call]
