"""Int8 by torch: the modules that compute with int8 weights, and the loader that rebuilds a student from them.

A file holds `NAME.weight` int8 `[rows, d]` and `NAME.weight_scale` float32 `[rows]` for every quantized module,
`NAME.bias`, and the float32 rest under its usual names. Its name is not `model.safetensors`, so that a stock
transformers class refuses the folder instead of loading integers as weights.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from compress.core.errors import InputError

FILE = "int8.safetensors"
FORMAT = "stillroom-int8"
VERSION = "1"


class Int8Linear(nn.Module):
    """`x Wᵀ + b` with int8 weights, a scale for each output, activations quantized for the whole batch.

    reduced: activations of 7 bits, for CPUs whose 16-bit sums overflow.
    """

    def __init__(self, rows: Tensor, scales: Tensor, bias: Tensor | None, reduced: bool) -> None:
        super().__init__()
        self.reduced = reduced
        self.packed = _packed(rows, scales, bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., d]` float32 to `[..., rows]` float32."""
        return cast(Tensor, torch.ops.quantized.linear_dynamic(x, self.packed, self.reduced))


class Int8Embedding(nn.Module):
    """Rows of an int8 table, scaled back to float32 as they are looked up."""

    rows: Tensor
    scales: Tensor

    def __init__(self, rows: Tensor, scales: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("scales", scales[:, None], persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """`[...]` ids to `[..., d]` float32."""
        return self.rows[ids].float().mul_(self.scales[ids])


def _packed(rows: Tensor, scales: Tensor, bias: Tensor | None) -> Any:
    """Weights as torch's int8 kernels want them: oneDNN's where the CPU has VNNI, else the default of the machine."""
    cpu, kernels = torch.cpu.get_capabilities(), torch.backends.quantized
    before = kernels.engine
    fast = "onednn" in kernels.supported_engines and (cpu.get("avx512_vnni") or cpu.get("avx_vnni"))
    with warnings.catch_warnings():
        # torch announces that its quantized dtypes will go; the file holds plain int8 and does not depend on them.
        warnings.filterwarnings("ignore", message="torch.quantize_per_tensor", category=UserWarning)
        zeros = torch.zeros(len(rows), dtype=torch.long)
        weight = torch._make_per_channel_quantized_tensor(rows, scales.double(), zeros, 0)
        kernels.engine = "onednn" if fast else before
        try:
            return torch.ops.quantized.linear_prepack(weight, bias)
        finally:
            kernels.engine = before


def put_int8(model: nn.Module, name: str, rows: Tensor, scales: Tensor, bias: Tensor | None, reduced: bool) -> None:
    """Replace the Linear or Embedding of that dotted name by its int8 module. Raises KeyError for anything else."""
    parent, _, leaf = name.rpartition(".")
    old = model.get_submodule(name)
    if isinstance(old, nn.Linear) and old.weight.shape == rows.shape:
        setattr(model.get_submodule(parent), leaf, Int8Linear(rows, scales, bias, reduced))
    elif isinstance(old, nn.Embedding) and old.weight.shape == rows.shape:
        setattr(model.get_submodule(parent), leaf, Int8Embedding(rows, scales))
    else:
        raise KeyError(f"{name} is a {type(old).__name__}, not a matrix of shape {list(rows.shape)}")


def unfold(model: nn.Module) -> None:
    """Replace every product of two matrices by one Linear after the other, each of which can be int8."""
    for name, module in [found for found in model.named_modules() if hasattr(found[1], "factors")]:
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, module.factors())


def load_int8(folder: Path, about: dict[str, Any]) -> PreTrainedModel:
    """The student whose int8 weights lie in `about.engine.torch.file`, in eval mode, on the CPU.

    Raises InputError for a damaged file and for weights that do not fit the folder's config.json.
    """
    path = folder / about["engine"]["torch"]["file"]
    try:
        tensors, facts = _read(path)
        model = _skeleton(folder)
        _fill(model, tensors, json.loads(facts["tied"]), facts["reduce_range"] == "true")
    except (OSError, ValueError, KeyError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path}: cannot be loaded ({reason}); copy the folder again, or run its step again"
        ) from error
    model.eval()  # type: ignore[no-untyped-call]
    return model


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as held:
        facts = held.metadata() or {}
        if facts.get("format") != FORMAT or facts.get("version") != VERSION:
            came = f"{facts.get('format')} {facts.get('version')}"
            raise ValueError(f"expected the format {FORMAT} {VERSION}, came {came}")
        return {name: held.get_tensor(name) for name in held.keys()}, facts  # noqa: SIM118


def _skeleton(folder: Path) -> PreTrainedModel:
    """The architecture that config.json names, its weights not yet set."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    name = (config.architectures or [""])[0]
    # A model of uneven shapes, which `import compress` has taught transformers, knows its own classes.
    kind = config.model_class(name) if hasattr(config, "model_class") else getattr(transformers, name, None)
    if not (isinstance(kind, type) and issubclass(kind, PreTrainedModel)):
        raise ValueError(f"config.json names the architecture {name!r}, which transformers does not have")
    with no_init_weights():
        model = kind(config)
    unfold(model)
    return model


def _fill(model: PreTrainedModel, tensors: dict[str, Tensor], tied: dict[str, str], reduced: bool) -> None:
    scaled = [name.removesuffix(".weight_scale") for name in tensors if name.endswith(".weight_scale")]
    for name in [*scaled, *tied]:
        source = tied.get(name, name)
        rows, scales = tensors[f"{source}.weight"], tensors[f"{source}.weight_scale"]
        put_int8(model, name, rows, scales, tensors.get(f"{name}.bias"), reduced)
    taken = {f"{name}.{part}" for name in [*scaled, *tied] for part in ("weight", "weight_scale", "bias")}
    model.load_state_dict({name: value for name, value in tensors.items() if name not in taken}, strict=True)
