"""Run a model over a whole split, in batches of similar length, and give its outputs in row order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compress.train.batches import Batch, Collate, Feature
from compress.train.place import arithmetic, hand_back_memory, resolve_precision

Flatten = Callable[[Tensor, Tensor, Tensor], tuple[np.ndarray, np.ndarray]]
Arrays = list[np.ndarray]
Read = Callable[[Any, Batch], Tensor]
ByRow = Callable[[Sequence[Feature], Arrays, Arrays], tuple[Arrays, Arrays]]
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def collect(
    model: nn.Module,
    features: Sequence[Feature],
    collate: Collate,
    flatten: Flatten,
    *,
    read: Read | None = None,
    by_row: ByRow | None = None,
    batch_size: int = 64,
    device: torch.device | None = None,
    precision: str = "fp32",
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """What `flatten(logits, labels, outputs)` gives for every row, in row order: `[n, c]` logits and `[n]` labels.

    read: the logits in a model's outputs (`Task.read`). by_row: from features to rows, where these are not the same
    (`Task.by_row`).

    The model runs in eval mode without gradients where it is (or on `device`) and is left in the mode it was in. A
    collator that draws (`mask`) draws from a generator seeded by `seed` and the batch, so that two calls agree.
    """
    where = device or next(model.parameters()).device
    how = resolve_precision(precision, where)
    order = sorted(range(len(features)), key=lambda row: len(features[row]["input_ids"]), reverse=True)
    logits: dict[int, np.ndarray] = {}
    labels: dict[int, np.ndarray] = {}
    was_training = model.training
    model.to(where).eval()
    hand_back_memory()  # batches of other lengths would not fit into the holes that training left
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            generator = torch.Generator().manual_seed(seed * 1_000_003 + start)
            batch = {name: value.to(where) for name, value in collate([features[r] for r in rows], generator).items()}
            with arithmetic(how, where):
                outputs = model(**inputs_of(batch, where))
                output = outputs.logits if read is None else read(outputs, batch)
            _spread(output, batch, rows, flatten, logits, labels)
    model.train(was_training)
    found, true = [logits[row] for row in range(len(features))], [labels[row] for row in range(len(features))]
    if by_row is not None:
        found, true = by_row(features, found, true)
    return _joined(found), _joined(true)


def inputs_of(batch: Batch, device: torch.device) -> Batch:
    """The part of a batch that a model takes, on its device."""
    return {name: batch[name].to(device) for name in INPUTS if name in batch}


def rows_of(batch: Batch, feature: int) -> Tensor:
    """The rows of a batch that a feature gave, in order: its own place, or those of its number in `owners`."""
    owners = batch.get("owners")
    return torch.tensor([feature]) if owners is None else (owners.cpu() == feature).nonzero()[:, 0]


def _spread(
    output: Tensor,
    batch: Batch,
    rows: Sequence[int],
    flatten: Flatten,
    logits: dict[int, np.ndarray],
    labels: dict[int, np.ndarray],
) -> None:
    """Flatten row by row, since a row may have any number of outputs (`tag`, `mask`)."""
    output, targets, counts = output.cpu(), batch["labels"].cpu(), batch["outputs"].cpu()
    if counts.dim() == 1 and bool(counts.all()):
        flat, true = flatten(output, targets, counts)
        if len(flat) == len(rows):
            logits.update((row, flat[at : at + 1]) for at, row in enumerate(rows))
            labels.update((row, true[at : at + 1]) for at, row in enumerate(rows))
            return
    for at, row in enumerate(rows):
        own = rows_of(batch, at)
        logits[row], labels[row] = flatten(output[own], targets[own], counts[own])


def _joined(parts: Arrays) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros((0,), dtype=np.float32)
