"""Models under a task's head, and bodies moved from one head to another."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel

from compress.core.errors import JobError
from teachers.origins.base import Need


def with_head(config: PreTrainedConfig, need: Need) -> PreTrainedModel:
    """A randomly initialised model of this configuration under the task's head, drawn from the need's seed."""
    if need.outputs is not None:
        names = need.corpus.labels or (["value"] if need.outputs == 1 else ["start", "end"])
        config.id2label = dict(enumerate(names))
        config.label2id = {name: index for index, name in enumerate(names)}
    torch.manual_seed(need.seed)
    return model_of(need.task.auto_class, config)


def model_of(auto_class: str, config: PreTrainedConfig) -> PreTrainedModel:
    """A randomly initialised model under the head of a transformers Auto class."""
    auto: Any = getattr(transformers, auto_class)
    model: PreTrainedModel = auto.from_config(config)
    return model


def move_body(source: PreTrainedModel, target: PreTrainedModel) -> None:
    """Copy embeddings and layers of one model into another of the same shape; a pooler that the source lacks stays.

    Raises JobError when anything else does not fit.
    """
    found = target.base_model.load_state_dict(source.base_model.state_dict(), strict=False)
    strange = [*found.unexpected_keys, *(key for key in found.missing_keys if not key.startswith("pooler."))]
    if strange:
        raise JobError(f"the warmed-up body does not fit the teacher: {', '.join(strange[:5])}")
