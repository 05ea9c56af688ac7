"""Run a model that only answers (a teacher) in the arithmetic of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from transformers import PreTrainedModel

from compress.train.plain_attention import plain_attention

PLAIN_UP_TO = 128  # tokens: scores [b, h, s, s] in one piece are cheaper than the flash kernel, and small, up to here


@contextmanager
def answering(model: PreTrainedModel, precision: str, device: torch.device, longest: int) -> Iterator[None]:
    """A model whose weights nothing trains, made quick for batches of at most `longest` tokens.

    precision: `fp32` or `bf16`, as `arithmetic` takes it. In bf16 its parameters **become** bf16 and stay so: autocast
    casts frozen weights anew in every pass, and sums and normalises in float32 between them. Buffers keep their type:
    the frequencies of rotary positions need it.
    """
    low = precision == "bf16"
    if low:
        for value in model.parameters():
            if value.dtype is torch.float32:
                value.data = value.data.bfloat16()
    with plain_attention(model) if low and device.type == "cpu" and longest <= PLAIN_UP_TO else nullcontext():
        yield
