"""Batches of several shapes on which an exported model must equal the eager one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# A trace specialises what it sees as 1, so batch 1, length 1 and both are the shapes that break.
SHAPES = ((2, 7), (1, 1), (1, 12), (3, 16), (5, 1))


def trial_batches(config: Any, inputs: Sequence[str], longest: int) -> list[dict[str, Tensor]]:
    """Padded batches of random ids, `[b, s]` int64, one for each shape, the longest length, and pairs of segments.

    The first has batch 2 and no dimension of 1, as tracing needs. Every batch of 2 rows or more holds padding.
    """
    generator = torch.Generator().manual_seed(0)
    shapes = [(b, min(s, longest)) for b, s in SHAPES]
    return [_batch(config, inputs, b, s, generator) for b, s in [*shapes, (2, longest)]]


def _batch(config: Any, inputs: Sequence[str], rows: int, length: int, generator: torch.Generator) -> dict[str, Tensor]:
    pad = int(config.pad_token_id or 0)
    lengths = torch.tensor([max(1, length - (row * length) // (rows + 1)) for row in range(rows)])
    mask = (torch.arange(length)[None, :] < lengths[:, None]).long()
    ids = torch.randint(0, int(config.vocab_size), (rows, length), generator=generator)
    ids[ids == pad] = (pad + 1) % int(config.vocab_size)
    segments = (torch.arange(length)[None, :] * 2 >= lengths[:, None]).long() * mask
    if int(getattr(config, "type_vocab_size", 2)) < 2:
        segments = torch.zeros_like(segments)
    known = {"input_ids": torch.where(mask.bool(), ids, pad), "attention_mask": mask, "token_type_ids": segments}
    return {name: known[name] for name in inputs}
