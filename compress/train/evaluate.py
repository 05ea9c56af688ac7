"""Run a model over a whole split, in batches of similar length, and give its outputs in row order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from compress.train.batches import Batch, Collate, Feature
from compress.train.place import arithmetic, resolve_precision

Flatten = Callable[[Tensor, Tensor, Tensor], tuple[np.ndarray, np.ndarray]]
NOT_INPUTS = ("labels", "outputs")


def collect(
    model: nn.Module,
    features: Sequence[Feature],
    collate: Collate,
    flatten: Flatten,
    *,
    batch_size: int = 64,
    device: torch.device | None = None,
    precision: str = "fp32",
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """What `flatten(logits, labels, outputs)` gives for every row, in row order: `[n, c]` logits and `[n]` labels.

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
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            generator = torch.Generator().manual_seed(seed * 1_000_003 + start)
            batch = collate([features[row] for row in rows], generator)
            with arithmetic(how, where):
                output = model(**inputs_of(batch, where)).logits
            _spread(output, batch, rows, flatten, logits, labels)
    model.train(was_training)
    return _joined(logits, len(features)), _joined(labels, len(features))


def inputs_of(batch: Batch, device: torch.device) -> Batch:
    """The part of a batch that a model takes, on its device."""
    return {name: value.to(device) for name, value in batch.items() if name not in NOT_INPUTS}


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
        logits[row], labels[row] = flatten(output[at : at + 1], targets[at : at + 1], counts[at : at + 1])


def _joined(parts: dict[int, np.ndarray], rows: int) -> np.ndarray:
    return np.concatenate([parts[row] for row in range(rows)]) if rows else np.zeros((0,), dtype=np.float32)
