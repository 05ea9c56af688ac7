"""Looks at a teacher and its data before the training is paid for, and at the result after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.core.reporter import Reporter
from compress.tasks.base import Task
from compress.tasks.features import encode_rows
from compress.train.batches import Collate, Feature
from compress.train.evaluate import inputs_of

SAMPLE = 2000
BEYOND = 32
MANY_TRUNCATED = 0.05
MANY_UNKNOWN = 0.02


def text_shares(
    task: Task, tokenizer: Any, rows: Sequence[Mapping[str, Any]], max_length: int, reporter: Reporter
) -> dict[str, float]:
    """Share of rows longer than `max_length`, and of tokens that are unknown, over an even sample of the rows."""
    sample = rows[:: max(1, len(rows) // SAMPLE)]
    features = encode_rows(task, tokenizer, sample, max_length + BEYOND)
    cut = sum(len(row["input_ids"]) > max_length for row in features) if task.output != "span" else 0
    truncated = cut / len(features)  # a long context is read in windows: nothing of it is cut
    ids = [token for row in features for token in row["input_ids"]]
    unknown = sum(token == tokenizer.unk_token_id for token in ids) / len(ids)
    if truncated > MANY_TRUNCATED:
        reporter.warn(f"{truncated:.1%} of the texts are cut to max_length {max_length}; raise it if their ends matter")
    if unknown > MANY_UNKNOWN:
        reporter.warn(f"{unknown:.1%} of the tokens are unknown to the tokenizer; it does not fit this corpus's script")
    return {"truncated_share": truncated, "unknown_share": unknown}


def check_finite(
    model: PreTrainedModel, task: Task, features: Sequence[Feature], collate: Collate, source: str
) -> None:
    """Refuse a model whose logits are NaN or infinite before any training: its weights are damaged."""
    batch = collate(list(features[:8]), torch.Generator().manual_seed(0))
    training = model.training
    with torch.no_grad():
        model.train(False)
        batch = {name: value.to(model.device) for name, value in batch.items()}
        logits = task.read(model(**inputs_of(batch, model.device)), batch)
    model.train(training)
    if not torch.isfinite(logits).all():
        raise InputError(f"{source}: its outputs are NaN or infinite before training; the weights are damaged")


def above_chance(task: Task, score: float, labels: np.ndarray, reporter: Reporter) -> dict[str, Any]:
    """The best constant answer's score beside the teacher's; a teacher that is no better is warned about."""
    chance = task.chance(labels)
    learnt = score > chance
    if not learnt:
        reporter.warn(
            f"the teacher's dev {task.metric} {score:.4f} is no better than a constant answer ({chance:.4f}); there is "
            "nothing to distil from it: train longer, change the learning rate, or look at the labels"
        )
    return {"chance": chance, "above_chance": learnt}
