"""Checkpoints that are whole or absent.

`transformers.Trainer` writes checkpoints in place, and its resume takes the highest number even when the folder is
half written. Here a checkpoint is written into a hidden folder, synced, listed with hashes in `checkpoint.json`, and
renamed; only then are older ones removed. Resume takes the newest one whose hashes hold.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from compress.core.artifact import sync, write_json
from compress.core.errors import JobError
from compress.core.hashing import file_sha256

PREFIX = "checkpoint-"
PARTIAL = ".partial-"
MANIFEST = "checkpoint.json"
WEIGHTS = "model.safetensors"
BEST = "best.safetensors"
AVERAGE = "average.safetensors"
STATE = "state.json"
TRAINER_STATE = "trainer_state.json"
MOVING = "moving.pt"
KEEP = 2

Weights = dict[str, Tensor]
Warn = Callable[[str], None]


@dataclass(frozen=True)
class Found:
    """A complete checkpoint: its folder, its step and what the loop stored as JSON."""

    folder: Path
    step: int
    state: dict[str, Any]


def weights_of(module: nn.Module) -> Weights:
    """What training may change: trainable parameters and buffers, tied ones once. Not copied."""
    trained = {name: value.detach() for name, value in module.named_parameters() if value.requires_grad}
    return trained | {name: value.detach() for name, value in module.named_buffers()}


def put_weights(module: nn.Module, weights: Weights) -> None:
    """Copy weights into the module in place, so that ties and the optimizer's references stay."""
    here = weights_of(module)
    if here.keys() != weights.keys():
        raise KeyError(f"weights of another module: {sorted(here.keys() ^ weights.keys())[:5]}")
    for name, value in here.items():
        value.copy_(weights[name])


def copied(weights: Weights) -> Weights:
    """The same weights in memory of their own, on the CPU."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in weights.items()}


@dataclass
class Best:
    """The best weights so far, by the dev metric: CPU copies, or None before the first evaluation."""

    step: int = 0
    metric: float | None = None
    weights: Weights | None = None


class CheckpointWriter:
    """Writes the checkpoints of one run into `work` and keeps the newest two."""

    def __init__(self, work: Path, plan: str) -> None:
        self.work = work
        self.plan = plan

    def write(
        self,
        step: int,
        module: nn.Module,
        best: Best,
        *,
        moving: dict[str, Any],
        state: dict[str, Any],
        trainer_state: dict[str, Any],
        average: Weights | None = None,
    ) -> Path:
        """One checkpoint, and the older ones removed.

        average: the moving average of the weights, where one is kept. moving: optimizer, scheduler and generators, for
        `torch.save`. state: what the loop knows besides, as JSON. trainer_state: the Trainer's own, which its resume
        reads. Raises JobError when the disk refuses.
        """
        final = folder_of(self.work, step)
        partial = self.work / f"{PARTIAL}{final.name}"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            save_file({key: value.cpu().contiguous() for key, value in weights_of(module).items()}, partial / WEIGHTS)
            if best.weights is not None:
                save_file(best.weights, partial / BEST)
            if average is not None:
                save_file({key: value.cpu().contiguous() for key, value in average.items()}, partial / AVERAGE)
            torch.save(moving, partial / MOVING)
            write_json(partial / STATE, state)
            write_json(partial / TRAINER_STATE, trainer_state)
            self._seal(step, partial)
            shutil.rmtree(final, ignore_errors=True)
            os.rename(partial, final)
            sync(self.work)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors hide an OSError in theirs
            shutil.rmtree(partial, ignore_errors=True)
            raise JobError(
                f"{partial}: the checkpoint of step {step} could not be written ({error}). The one before is kept: "
                "make room and run again, and training goes on from it"
            ) from error
        self._forget_older()
        return final

    def _seal(self, step: int, partial: Path) -> None:
        files = sorted(path for path in partial.iterdir() if path.is_file())
        for path in files:
            sync(path)
        listed = {path.name: {"sha256": file_sha256(path), "bytes": path.stat().st_size} for path in files}
        write_json(partial / MANIFEST, {"schema": 1, "step": step, "plan": self.plan, "files": listed})
        sync(partial)

    def _forget_older(self) -> None:
        for folder in _folders(self.work)[KEEP:]:
            remove(folder)


def folder_of(work: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return work / f"{PREFIX}{step:09d}"


def newest_complete(work: Path, plan: str, warn: Warn) -> Found | None:
    """The newest checkpoint of this plan that is whole. Damaged, half-written and foreign ones are removed."""
    for partial in work.glob(f"{PARTIAL}{PREFIX}*"):
        shutil.rmtree(partial, ignore_errors=True)
    for folder in _folders(work):
        fault = _fault(folder, plan)
        if fault is None:
            return found_in(folder)
        warn(f"{folder}: {fault}; it is left out and removed")
        remove(folder)
    return None


def found_in(folder: Path) -> Found:
    """A checkpoint that is known to be whole."""
    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    return Found(folder, int(folder.name.removeprefix(PREFIX)), state)


def load_average(folder: Path) -> Weights:
    """The moving average of the weights that a checkpoint holds."""
    return load_file(folder / AVERAGE)


def load_weights(folder: Path) -> Weights:
    """The weights that a checkpoint holds."""
    return load_file(folder / WEIGHTS)


def load_best(folder: Path, step: int, metric: float | None) -> Best:
    """The best weights that a checkpoint holds, if any were known then."""
    path = folder / BEST
    return Best(step, metric, load_file(path) if path.is_file() else None)


def load_moving(folder: Path) -> dict[str, Any]:
    """Optimizer, scheduler and generators of a checkpoint, on the CPU."""
    moving: dict[str, Any] = torch.load(folder / MOVING, map_location="cpu", weights_only=True)
    return moving


def generators() -> dict[str, Any]:
    """States of the global generators of Python, numpy and torch's on the CPU, as plain values and tensors.

    That of a GPU is in `draws`: those of all GPUs would fit no machine with fewer of them.
    """
    version, internal, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, torch.tensor(internal, dtype=torch.int64), gauss],
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }


def set_generators(states: dict[str, Any]) -> None:
    """Set the global generators to what `generators` gave."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))
    kind, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])


def draws(device: torch.device) -> Tensor:
    """The states of torch's generators that one process draws from, the device's too, as one `uint8` tensor."""
    states = [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]
    return torch.cat(states)


def set_draws(states: Tensor, device: torch.device) -> None:
    """Set what `draws` gave."""
    size = len(torch.get_rng_state())
    torch.set_rng_state(states[:size].clone())
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[size:].clone(), device)


def remove(folder: Path) -> None:
    """Remove a checkpoint, its manifest first, so that what a crash leaves of it is not taken for whole."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _folders(work: Path) -> list[Path]:
    """Checkpoint folders, newest first."""
    return sorted((path for path in work.glob(f"{PREFIX}*") if path.is_dir()), reverse=True)


def _fault(folder: Path, plan: str) -> str | None:
    """Why a checkpoint cannot be used, or None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = dict(manifest["files"])
        other = manifest["plan"] != plan
    except (OSError, ValueError, KeyError, TypeError):
        return "an incomplete checkpoint"
    if other:
        return "a checkpoint of another training (other options, data or model)"
    for name, facts in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != facts["bytes"] or file_sha256(path) != facts["sha256"]:
            return f"a damaged checkpoint ({name} is not what was written)"
    return None
