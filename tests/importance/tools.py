"""Evidence for tiny models: labelled texts with padding, and a loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.importance.base import Batch, Evidence
from tests.models import batch


def task_loss(outputs: Any, inputs: Any) -> Tensor:
    """Cross-entropy of whole texts, or of tokens where labels are `[b, s]`."""
    labels = inputs["labels"]
    logits = outputs.logits
    return nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1])[-labels.numel() :], labels.reshape(-1))


def labelled(model: PreTrainedModel, rows: int = 3, tokens: int = 7) -> Batch:
    """A batch with padding in all rows but the first, and labels."""
    pad = model.config.pad_token_id
    made = batch(rows, tokens, pad=0 if pad is None else int(pad))
    return {**made, "labels": torch.arange(rows) % 3}


def evidence(model: PreTrainedModel, **changed: Any) -> Evidence:
    """Two batches of different length and size."""
    given: dict[str, Any] = {"batches": [labelled(model), labelled(model, 2, 5)], "loss": task_loss}
    return Evidence(**{**given, **changed})


def row_by_row(batches: list[Batch]) -> list[Batch]:
    """Every row as a batch of its own, without its padding."""
    made = []
    for one in batches:
        for row, length in enumerate(one["attention_mask"].sum(1).tolist()):
            made.append(
                {
                    name: value[row : row + 1, :length] if value.dim() > 1 else value[row : row + 1]
                    for name, value in one.items()
                }
            )
    return made


def padded_more(one: Batch, pad: int) -> Batch:
    """The same batch with three more columns of padding."""
    wide = {name: nn.functional.pad(value, (0, 3)) for name, value in one.items() if value.dim() > 1}
    wide["input_ids"] = wide["input_ids"].masked_fill(wide["attention_mask"] == 0, pad)
    return {**one, **wide}
