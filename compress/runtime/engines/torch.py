"""Torch: the float student as transformers loads it, and the int8 form made by torch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import transformers
from safetensors import SafetensorError

from compress.core.errors import InputError
from compress.runtime.engines.base import Engine

AUTO_CLASSES = {
    "classify": "AutoModelForSequenceClassification",
    "regress": "AutoModelForSequenceClassification",
    "tag": "AutoModelForTokenClassification",
    "mask": "AutoModelForMaskedLM",
}


class TorchEngine(Engine):
    """A module in eval mode under `inference_mode`. Its threads are those of torch, which has one pool per process."""

    name: ClassVar[str] = "torch"

    def __init__(self, model: Any, dtype: str, threads: int, device: str) -> None:
        self.model = model
        self.dtype = dtype
        self.threads = threads
        self.device = torch.device(device)

    @classmethod
    def open(cls, folder: Path, about: dict[str, Any], threads: int, device: str = "cpu") -> TorchEngine:
        """Load the folder's torch form. Raises InputError for a damaged checkpoint or a device that is not there."""
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise InputError(f"device: {device!r} is asked for, and torch sees no CUDA device; use cpu")
        torch.set_num_threads(threads)
        facts = about["engine"]["torch"]
        dtype = str(facts.get("dtype", "float32"))
        model = _int8(folder, about, device) if dtype == "int8" else _float(folder, about)
        return cls(model.to(device).eval(), dtype, threads, device)

    def run(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """Logits of the model."""
        with torch.inference_mode():
            return self._array(self.model(**self._tensors(batch)).logits)

    def hidden(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """The last hidden state of the body under the head."""
        with torch.inference_mode():
            return self._array(self.model.base_model(**self._tensors(batch)).last_hidden_state)

    def _tensors(self, batch: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(value).to(self.device) for name, value in batch.items()}

    @staticmethod
    def _array(found: torch.Tensor) -> np.ndarray:
        return found.float().cpu().numpy()


def _float(folder: Path, about: dict[str, Any]) -> Any:
    (task,) = about["task"]
    told = transformers.utils.logging
    level = told.get_verbosity()
    bars = told.is_progress_bar_enabled()
    told.set_verbosity(logging.ERROR)
    told.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model, report = getattr(transformers, AUTO_CLASSES[task]).from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{folder}: cannot be loaded ({' '.join(str(error).split())[:200]})") from error
    finally:
        told.set_verbosity(level)
        if bars:
            told.enable_progress_bar()  # type: ignore[no-untyped-call]
    if report["missing_keys"]:
        names = ", ".join(sorted(report["missing_keys"])[:3])
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
