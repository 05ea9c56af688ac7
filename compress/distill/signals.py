"""The teacher's logits on a split, run once and kept, for objectives that read nothing else.

A live teacher costs a forward pass for every row of every epoch; its logits without dropout never change.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.errors import JobError
from compress.core.reporter import Reporter
from compress.distill.objective import TEACHER_LOGITS
from compress.train.batches import Batch, Collate, Feature
from compress.train.evaluate import inputs_of
from compress.train.place import arithmetic


def teacher_logits(
    teacher: PreTrainedModel,
    features: Sequence[Feature],
    collate: Collate,
    *,
    cache: Path,
    batch_size: int,
    device: torch.device,
    precision: str,
    reporter: Reporter,
) -> np.ndarray:
    """Logits `[n, c]` float32 in row order, from `cache` when a run before has written it whole.

    Raises JobError for NaN or infinite logits, with the first row.
    """
    if cache.is_file():
        held: np.ndarray = np.load(cache, allow_pickle=False)
        if len(held) == len(features):
            return held
    order = sorted(range(len(features)), key=lambda row: len(features[row]["input_ids"]), reverse=True)
    nn.Module.to(teacher, device).train(False)
    parts: list[np.ndarray] = []
    with reporter.progress("teacher's logits", len(order)) as bar, torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = collate([features[row] for row in rows], torch.Generator())
            with arithmetic(precision, device):
                output = teacher(**inputs_of(batch, device)).logits
            parts.append(output.float().cpu().numpy())
            bar.advance(len(rows))
    logits = np.empty((len(order), parts[0].shape[-1]), dtype=np.float32)
    logits[order] = np.concatenate(parts)
    _refuse_nan(logits)
    _write(cache, logits)
    return logits


def with_teacher_logits(features: Sequence[Feature], logits: np.ndarray, name: str = TEACHER_LOGITS) -> list[Feature]:
    """Features that carry their row's teacher logits, so that shuffling and resuming cannot mix them up."""
    return [{**feature, name: row} for feature, row in zip(features, logits, strict=True)]


def carrying_logits(collate: Collate, name: str = TEACHER_LOGITS) -> Collate:
    """The same batches with `teacher_logits` `[b, c]`, or under another teacher's name."""

    def carry(features: list[Feature], generator: torch.Generator) -> Batch:
        batch: dict[str, Tensor] = collate(features, generator)
        batch[name] = torch.from_numpy(np.stack([feature[name] for feature in features]))
        return batch

    return carry


def _refuse_nan(logits: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(logits).all(-1))
    if len(bad):
        raise JobError(f"the teacher gives NaN or infinite logits for {len(bad)} rows (first: training row {bad[0]})")


def _write(cache: Path, logits: np.ndarray) -> None:
    """Whole or absent: written beside, synced, renamed."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    beside = cache.with_name(f".{cache.name}.{os.getpid()}")
    with beside.open("wb") as stream:
        np.save(stream, logits, allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())
    beside.rename(cache)
