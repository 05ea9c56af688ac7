"""How an engine is named: `engine[:variant]`, where a variant is another number format or another way to run.

`torch` is float32, op by op. `torch:bf16`, `torch:fp16`, `torch:compile`, `torch:cudagraph`, and a format with a way to
run joined by a plus, `torch:bf16+compile`, measure the same folder otherwise. The stored files never change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compress.core.errors import InputError, did_you_mean

FORMAT, WAY = "number format", "way to run"
AUTO = "auto"
_FROM, _BETWEEN = ":", "+"


@dataclass(frozen=True)
class Variant:
    """What stands behind the colon. kind: FORMAT or WAY, of which a name has one each at most.

    dtype: the number format that it gives. cuda: whether it makes sense on a CUDA device only.
    """

    kind: str
    dtype: str = ""
    cuda: bool = False


@dataclass(frozen=True)
class EngineEntry:
    """Where an engine lives, the package that it needs, how to get it, and its variants by name."""

    module: str
    package: str
    install: str
    variants: Mapping[str, Variant] = field(default_factory=dict)


ENGINES: dict[str, EngineEntry] = {
    "onnx": EngineEntry("compress.runtime.engines.onnx", "onnxruntime", "pip install onnxruntime"),
    "openvino": EngineEntry(
        "compress.runtime.engines.openvino",
        "openvino",
        'pip install "stillroom[openvino]"',
        {"bf16": Variant(FORMAT, "bfloat16")},
    ),
    "torch": EngineEntry(
        "compress.runtime.engines.torch",
        "transformers",
        'pip install "stillroom[train]"',
        {
            "bf16": Variant(FORMAT, "bfloat16"),
            "fp16": Variant(FORMAT, "float16", cuda=True),
            "compile": Variant(WAY),
            "cudagraph": Variant(WAY, cuda=True),
        },
    ),
}


@dataclass(frozen=True)
class EngineName:
    """A checked name. engine: `auto` or a key of ENGINES. variants: format first, as `str()` writes them."""

    engine: str
    variants: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.engine}{_FROM}{_BETWEEN.join(self.variants)}" if self.variants else self.engine

    def dtype(self, stored: str) -> str:
        """The number format that it computes with, for weights stored as `stored`."""
        known = ENGINES[self.engine].variants
        return next((known[name].dtype for name in self.variants if known[name].dtype), stored)

    @property
    def needs_cuda(self) -> bool:
        """Whether one of its variants makes no sense on a CPU."""
        return any(ENGINES[self.engine].variants[name].cuda for name in self.variants)


def parse_engine(text: str) -> EngineName:
    """Read `engine[:variant[+variant]]`. Raises InputError, with the nearest name, for anything else."""
    engine, colon, rest = text.partition(_FROM)
    if engine not in (AUTO, *ENGINES):
        raise InputError(f"engine: {text!r} is not known{_nearest(text)} ({AUTO}, {', '.join(ENGINES)})")
    if not colon:
        return EngineName(engine)
    known = ENGINES[engine].variants if engine != AUTO else {}
    if not known:
        which = "name the engine too, as in torch:bf16" if engine == AUTO else f"{engine} has none; use {engine}"
        raise InputError(f"engine: {text!r} asks for a variant: {which}")
    asked = rest.split(_BETWEEN)
    for name in asked:
        if name not in known:
            close = did_you_mean(name, known)
            hint = close.replace('"', f'"{engine}{_FROM}', 1)
            raise InputError(f"engine: {text!r} is not known{hint} (behind {engine}{_FROM} {', '.join(known)})")
    for kind in (FORMAT, WAY):
        same = [name for name in asked if known[name].kind == kind]
        if len(same) > 1:
            raise InputError(f"engine: {text!r} names more than one {kind} ({', '.join(same)}); keep one of them")
    return EngineName(engine, tuple(sorted(asked, key=lambda name: known[name].kind != FORMAT)))


def check_form(wanted: EngineName, facts: Mapping[str, Any], folder: object) -> None:
    """Raises InputError for a variant of a form that is already int8: its numbers are what they are."""
    if wanted.variants and facts.get("dtype") == "int8":
        raise InputError(
            f"{folder}: holds int8 for the engine {wanted.engine}, which has no variants; use "
            f"engine={wanted.engine}, or {wanted} with the float student that it was made from"
        )


def check_device(wanted: EngineName, device: str) -> None:
    """Raises InputError for a variant that makes no sense on this device."""
    if wanted.needs_cuda and not device.startswith("cuda"):
        instead = "torch:bf16 or torch:compile" if wanted.engine == "torch" else wanted.engine
        raise InputError(f"engine: {wanted} needs a CUDA device, came device={device}; on a CPU use {instead}")


def _nearest(text: str) -> str:
    known = [f"{engine}{_FROM}{name}" for engine, entry in ENGINES.items() for name in entry.variants]
    bare = [name for name in known if name.endswith(f"{_FROM}{text}")]
    return f'; did you mean "{bare[-1]}"?' if bare else did_you_mean(text, [*ENGINES, *known, AUTO])
