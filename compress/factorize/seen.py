"""What training texts tell of a model's matrices: the inputs that they get, and the gradients that they give back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.importance.base import Batch, Evidence
from compress.train.evaluate import inputs_of


@torch.no_grad()
def input_moments(model: PreTrainedModel, names: Sequence[str], evidence: Evidence) -> dict[str, Tensor]:
    """`[i, i]` second moments of each matrix's inputs, mean over the tokens that are no padding, float64."""
    sums: dict[str, Tensor] = {}
    real = torch.zeros(0)
    tokens = 0

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            # DeBERTa's matrices also read its table of positions, which is no text.
            if inputs[0].shape[:2] == real.shape:
                read = inputs[0][real].double()
                sums[name] = sums.get(name, torch.zeros(())) + read.T @ read

        return hook

    hooks = [model.get_submodule(name).register_forward_pre_hook(watch(name)) for name in names]
    try:
        for batch in evidence.batches:
            real = batch["attention_mask"].bool()
            tokens += int(real.sum())
            model(**inputs_of(dict(batch), torch.device("cpu")))
    finally:
        for each in hooks:
            each.remove()
    return {name: found / tokens for name, found in sums.items()}


def row_importance(model: PreTrainedModel, names: Sequence[str], evidence: Evidence) -> dict[str, Tensor]:
    """`[o]` for each matrix: the squared gradients of a row's weights, summed over the row, mean over the texts.

    Each text's gradient is taken by itself: squares of a batch's mean would mostly cancel. Raises InputError without
    labels or a loss.
    """
    if evidence.loss is None:
        raise InputError("by: fisher needs the loss of a trained head on labelled texts; use plain or activation")
    weights = [model.get_submodule(name).get_parameter("weight") for name in names]
    frozen = [weight for weight in weights if not weight.requires_grad]
    sums = [torch.zeros(len(weight), dtype=torch.float64) for weight in weights]
    texts = 0
    for weight in frozen:
        weight.requires_grad_(True)
    try:
        for text in _one_by_one(evidence.batches):
            loss = evidence.loss(model(**inputs_of(dict(text), torch.device("cpu"))), text)
            for total, gradient in zip(sums, torch.autograd.grad(loss, weights), strict=True):
                total += gradient.double().square().sum(1)
            texts += 1
    finally:
        for weight in frozen:
            weight.requires_grad_(False)
    return {name: total / max(texts, 1) for name, total in zip(names, sums, strict=True)}


def _one_by_one(batches: Sequence[Batch]) -> Iterator[Batch]:
    """Each row as a batch of its own. Padding stays: which labels are one a token cannot be told from their shape."""
    for batch in batches:
        for row in range(len(batch["input_ids"])):
            yield {name: value[row : row + 1] for name, value in batch.items()}
