"""Torch: the float student as transformers loads it, in other formats and compiled, and the int8 form made by torch."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError

from compress.core.errors import InputError
from compress.runtime.engines.base import Engine
from compress.runtime.engines.torch_output import one_output

AUTO_CLASSES = {
    "classify": "AutoModelForSequenceClassification",
    "regress": "AutoModelForSequenceClassification",
    "tag": "AutoModelForTokenClassification",
    "mask": "AutoModelForMaskedLM",
    "multilabel": "AutoModelForSequenceClassification",
    "answer": "AutoModelForQuestionAnswering",
    "embed": "AutoModel",
}
FORMATS = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine(Engine):
    """A module in eval mode under `inference_mode`. Its threads are those of torch, which has one pool per process.

    call: the module, or its compiled or recorded form, which `run` goes through; `hidden` always asks the module.
    """

    name = "torch"

    def __init__(self, model: Any, dtype: str, threads: int, device: str, call: Any = None) -> None:
        self.model = model
        self.call = model if call is None else call
        self.dtype = dtype
        self.threads = threads
        self.device = torch.device(device)

    @classmethod
    def open(
        cls, folder: Path, about: dict[str, Any], threads: int, device: str = "cpu", variants: Sequence[str] = ()
    ) -> TorchEngine:
        """Load the folder's torch form. Raises InputError for a damaged checkpoint or a device that is not there.

        bf16, fp16: every weight and activation in that format. compile: `torch.compile` with dynamic shapes, which
        compiles at the first call. cudagraph: see `torch_graphs`.
        """
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise InputError(f"device: {device!r} is asked for, and torch sees no CUDA device; use cpu")
        torch.set_num_threads(threads)
        if about["engine"]["torch"].get("dtype", "float32") == "int8":
            int8 = _int8(folder, about, device).to(device).eval()
            return cls(int8, "int8", threads, device, one_output(int8, about["task"]))
        form = next((FORMATS[name] for name in variants if name in FORMATS), torch.float32)
        if "compile" in variants:
            _check_compiler(device)
        model = _float(folder, about, form).to(device).eval()
        return cls(
            model,
            str(model.dtype).removeprefix("torch."),
            threads,
            device,
            _faster(one_output(model, about["task"]), variants),
        )

    @classmethod
    def imports(cls, family: str, variants: Sequence[str] = ()) -> None:
        """The module of this architecture, which transformers imports while it loads, and the compiler."""
        auto = importlib.import_module("transformers.models.auto")
        module = family.replace("-", "_")
        try:
            importlib.import_module(f"transformers.models.{module}.modeling_{module}")
        except ModuleNotFoundError:
            auto.AutoModelForSequenceClassification  # noqa: B018
        if "compile" in variants:
            importlib.import_module("torch._inductor.compile_fx")

    def run(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """Logits of the model; what `one_output` makes of it for answers and embeddings."""
        with torch.inference_mode():
            return self._array(self.call(**self._tensors(batch)).logits)

    def hidden(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """The last hidden state of the body under the head."""
        with torch.inference_mode():
            return self._array(self.model.base_model(**self._tensors(batch)).last_hidden_state)

    def _tensors(self, batch: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(value).to(self.device) for name, value in batch.items()}

    @staticmethod
    def _array(found: torch.Tensor) -> np.ndarray:
        return found.float().cpu().numpy()


def _faster(model: Any, variants: Sequence[str]) -> Any:
    """The module as the variants run it."""
    if "compile" in variants:
        return torch.compile(model, dynamic=True)
    if "cudagraph" in variants:
        from compress.runtime.engines.torch_graphs import Replayed

        return Replayed(model)
    return model


def _check_compiler(device: str) -> None:
    """Raises InputError when torch.compile has nothing to compile with, which it would say at the first call only."""
    if device.startswith("cuda"):
        if importlib.util.find_spec("triton") is None:
            raise InputError("engine: torch:compile on CUDA needs triton; run: pip install triton")
        return
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise InputError("engine: torch:compile needs a C++ compiler (g++ or clang++), and finds none here") from error


def _float(folder: Path, about: dict[str, Any], form: torch.dtype) -> Any:
    (task,) = about["task"]
    told = transformers.utils.logging
    level = told.get_verbosity()
    bars = told.is_progress_bar_enabled()
    told.set_verbosity(logging.ERROR)
    told.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model, report = getattr(transformers, AUTO_CLASSES[task]).from_pretrained(
            folder, dtype=form, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{folder}: cannot be loaded ({' '.join(str(error).split())[:200]})") from error
    finally:
        told.set_verbosity(level)
        if bars:
            told.enable_progress_bar()  # type: ignore[no-untyped-call]
    # The pooler stands behind the hidden states that an embedding is made of, and many such checkpoints lack it.
    missing = [name for name in report["missing_keys"] if task != "embed" or not name.startswith("pooler.")]
    if missing:
        names = ", ".join(sorted(missing)[:3])
        raise InputError(
            f"{folder}: lacks weights that the model needs ({names}), which would be random; train it first"
        )
    return model


def _int8(folder: Path, about: dict[str, Any], device: str) -> Any:
    if device != "cpu":
        raise InputError(f"{folder}: int8 by torch runs on the CPU only; use device=cpu")
    from compress.runtime.engines.torch_int8 import load_int8

    return load_int8(folder, about)


ENGINE = TorchEngine
