"""One tensor out of whatever a transformers model gives, so that every form of a student has the same output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

POOLINGS = ("mean", "cls", "max")


def raw_output(outputs: Any) -> Tensor:
    """The logits; for answers start and end of each token `[b, s, 2]`; of a bare body its last hidden state."""
    if getattr(outputs, "start_logits", None) is not None:
        return torch.stack([outputs.start_logits, outputs.end_logits], dim=-1)
    found: Tensor | None = getattr(outputs, "logits", None)
    if found is None:
        found = outputs.last_hidden_state
    return found


def pooled(hidden: Tensor, mask: Tensor, pooling: str, normalize: bool) -> Tensor:
    """One vector `[b, d]` a text from hidden states `[b, s, d]` and the mask `[b, s]`, of length 1 if `normalize`.

    pooling: `mean` over the real tokens, `cls` the first token, `max` of each feature over the real tokens.
    """
    real = mask.bool().unsqueeze(-1)
    if pooling == "cls":
        found = hidden[:, 0]
    elif pooling == "max":
        found = hidden.masked_fill(~real, torch.finfo(hidden.dtype).min).amax(1)
    else:
        weights = real.to(hidden.dtype)
        found = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
    return nn.functional.normalize(found, dim=-1) if normalize else found


class OneOutput(nn.Module):
    """A model of a task whose class gives several tensors, or no pooled one, with the one output `logits`."""

    def __init__(self, model: Any, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.model = model
        self.options = options
        self.config = model.config

    def forward(self, **batch: Tensor) -> SequenceClassifierOutput:
        """`logits` `[b, s, 2]` for answers, the embedding `[b, d]` of a body."""
        raw = raw_output(self.model(**batch))
        if self.options is not None:
            raw = pooled(raw, batch["attention_mask"], str(self.options["pooling"]), bool(self.options["normalize"]))
        return SequenceClassifierOutput(logits=raw)


def one_output(model: Any, task: Mapping[str, Any]) -> Any:
    """The model itself where its class gives `logits`, else the same with one output. task: `{name: {options}}`."""
    (name,) = task
    if name == "embed":
        return OneOutput(model, task[name])
    return OneOutput(model) if name == "answer" else model
