"""What one forward pass of a model showed, and the shape legend of the whole project.

b batch, s tokens, d width, h heads, e width of one head, v vocabulary, c classes, n layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from compress.core.errors import InputError


@dataclass(frozen=True)
class Trace:
    """One model's view of one batch. Losses read two of them and know nothing else.

    logits: `[b, c]` (classify, regress), `[b, s, c]` (tag, mask), `[b, 2, s]` (answer) or `[b, d]` (embed).
    mask: `[b, s]` bool, true where a token is real.
    outputs: `[b]`, `[b, s]` or `[b, 2]` bool, true where an output counts (labelled words, masked tokens).
    labels: `[b]`, `[b, s]` int64, or `[b]` float32 for regression; `[b, c]` float32 (multilabel), `[b, 2]` int64
        (answer: start and end token), `[b, 2]` float32 (embed: pair and score); None for unlabelled rows.
    hidden: layer number to `[b, s, d]`; 0 is the embedding output, k the output of layer k.
    queries, keys, values: layer number (from 1) to `[b, h, s, e]`, before the scaled product.
    embedding: `[b, d]`, one vector for each text, as the task pools it.
    groups: `[b]` int64, rows with the same number belong together (the candidates of one query); the numbers mean
        nothing outside the batch.
    depth: number of layers of the model, so that layer maps can be checked.
    scores_lack: what this model's attention scores have besides q k^T / sqrt(e); empty for most.
    """

    mask: Tensor
    logits: Tensor | None = None
    outputs: Tensor | None = None
    labels: Tensor | None = None
    hidden: dict[int, Tensor] | None = None
    queries: dict[int, Tensor] | None = None
    keys: dict[int, Tensor] | None = None
    values: dict[int, Tensor] | None = None
    embedding: Tensor | None = None
    groups: Tensor | None = None
    depth: int = 0
    scores_lack: str = ""

    def hidden_at(self, layer: int) -> Tensor:
        """Hidden state `[b, s, d]` after `layer` (0: embeddings). Raises InputError when it was not captured."""
        return _at(self.hidden, layer, "hidden state")

    def attention_scores(self, layer: int) -> Tensor:
        """Unnormalised attention scores `[b, h, s, s]` in float32: q k^T / sqrt(e), before mask and softmax.

        Raises InputError for a model whose scores are more than that.
        """
        return scaled_products(*self.score_sides(layer))

    def score_sides(self, layer: int) -> tuple[Tensor, Tensor]:
        """Queries and keys `[b, h, s, e]` whose product the scores are. Raises InputError as `attention_scores`."""
        if self.scores_lack:
            raise InputError(
                f"attention cannot be compared: this model's scores also have {self.scores_lack}, which queries and "
                f"keys do not show; use losses on hidden states, logits, or relations of queries, keys and values"
            )
        return self.heads_at("queries", layer), self.heads_at("keys", layer)

    def heads_at(self, part: Literal["queries", "keys", "values"], layer: int) -> Tensor:
        """Queries, keys or values `[b, h, s, e]` of a layer. Raises InputError when they were not captured."""
        held = {"queries": self.queries, "keys": self.keys, "values": self.values}[part]
        return _at(held, layer, {"queries": "query", "keys": "key", "values": "value"}[part])

    def with_hidden(self, hidden: dict[int, Tensor]) -> Trace:
        """The same trace with other hidden states (projected ones, say)."""
        return replace(self, hidden=hidden)


def scaled_products(left: Tensor, right: Tensor) -> Tensor:
    """left right^T / sqrt(e) of `[..., s, e]`: `[..., s, s]` in float32, under autocast too."""
    with torch.autocast(left.device.type, enabled=False):
        # The scale goes onto the smaller tensor: scores of many heads are the largest ones of a training step.
        return (left.float() / math.sqrt(left.shape[-1])) @ right.float().transpose(-1, -2)


def _at(held: dict[int, Tensor] | None, layer: int, what: str) -> Tensor:
    if held is None or layer not in held:
        have = "none" if not held else ", ".join(map(str, sorted(held)))
        raise InputError(f"the trace has no {what} of layer {layer} (it has {have})")
    return held[layer]
