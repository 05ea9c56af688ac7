"""What training texts tell of a model's matrices: the inputs that they get, and the gradients that they give back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.importance.base import Evidence
from compress.importance.running import watch
from compress.importance.slopes import weight_slopes


def input_moments(model: PreTrainedModel, names: Sequence[str], evidence: Evidence) -> dict[str, Tensor]:
    """`[i, i]` second moments of each matrix's inputs, mean over the tokens that are no padding, float64.

    A matrix that runs several times has as many inputs of a token. names: matrices of blocks.
    """
    sums: dict[str, Tensor] = {}
    seen: dict[str, int] = {}

    def see(name: str, rows: Tensor) -> None:
        read = rows.double()
        sums[name] = sums.get(name, torch.zeros(())) + read.T @ read
        seen[name] = seen.get(name, 0) + len(read)

    watch(model, evidence.batches, names, see)
    return {name: found / seen[name] for name, found in sums.items()}


def row_importance(model: PreTrainedModel, names: Sequence[str], evidence: Evidence) -> dict[str, Tensor]:
    """`[o]` for each matrix: the squared gradients of a row's weights, summed over the row, mean over the texts.

    Raises InputError without labels or a loss.
    """
    if evidence.loss is None:
        raise InputError("by: fisher needs the loss of a trained head on labelled texts; use plain or activation")
    sums: dict[str, Tensor] = {}
    texts = 0
    for slopes in weight_slopes(model, evidence.batches, evidence.loss):
        texts += 1
        for name in names:
            found = slopes[f"{name}.weight"].double().square().sum(1)
            sums[name] = sums[name] + found if name in sums else found
    return {name: total / texts for name, total in sums.items()}
