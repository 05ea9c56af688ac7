"""Masked-language modelling: guess the hidden tokens of a text (BERT, arXiv:1810.04805, section 3.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from compress.core.errors import InputError
from compress.tasks.base import TASKS, Features, Row, Task
from compress.tasks.batch import IGNORED, finite, pad, padded, text_of, tokenized

_REPLACED, _RANDOM = 0.8, 0.1  # of the chosen tokens: [MASK], a random token; the rest stay as they are


@TASKS.register("mask")
class Mask(Task):
    """Chooses `share` of the tokens anew for every batch: 80 % become the mask token, 10 % random, 10 % stay.

    Special tokens are never chosen. All draws come from the generator given to `collate`.
    """

    auto_class: ClassVar[str] = "AutoModelForMaskedLM"
    output: ClassVar[str] = "vocabulary"
    token_level: ClassVar[bool] = True
    metric: ClassVar[str] = "accuracy"
    labelled: ClassVar[bool] = False

    text: str = Field("text", description="column of the text")
    share: float = Field(0.15, gt=0, lt=1, description="share of the tokens to be guessed")

    def sources(self) -> dict[str, str]:
        """Normalised column to source column."""
        return {"text": self.text}

    def label_values(self, row: Row) -> list[Any]:
        """None: the text is its own label."""
        return []

    def normalise(self, row: Row, index: Mapping[Any, int]) -> dict[str, Any]:
        """`text`. Raises ValueError when there is none."""
        return {"text": text_of(row, self.text)}

    def encode(self, tokenizer: Any, rows: Mapping[str, Sequence[Any]], max_length: int) -> Features:
        """Token ids, which of them are special, and the mask token and vocabulary size that `collate` draws with.

        Raises InputError for a tokenizer without a mask token.
        """
        if tokenizer.mask_token_id is None:
            raise InputError("the tokenizer has no mask token, and the task mask needs one; use a BERT-like tokenizer")
        texts = list(rows["text"])
        features = tokenized(tokenizer, texts, None, max_length, special=True)
        features["special"] = features.pop("special_tokens_mask")
        features["mask_id"] = [tokenizer.mask_token_id] * len(texts)
        features["vocabulary"] = [len(tokenizer)] * len(texts)
        return features

    def collate(
        self, features: Sequence[Mapping[str, Any]], pad_id: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """A batch with tokens hidden; `outputs` `[b, s]` marks the chosen ones, `labels` holds what they were."""
        batch = pad(features, pad_id)
        ids = batch["input_ids"]
        special = padded([row["special"] for row in features], ids.shape[1], 1)
        chosen = _choose(special == 0, self.share, generator)
        batch["labels"] = torch.where(chosen, ids, IGNORED)
        batch["outputs"] = chosen
        action = torch.rand(ids.shape, generator=generator)
        noise = torch.randint(int(features[0]["vocabulary"]), ids.shape, generator=generator)
        hidden = torch.where(action < _REPLACED, int(features[0]["mask_id"]), noise)
        batch["input_ids"] = torch.where(chosen & (action < _REPLACED + _RANDOM), hidden, ids)
        return batch

    def hard_loss(self, logits: Tensor, labels: Tensor, outputs: Tensor) -> Tensor:
        """Cross-entropy of logits `[b, s, v]` at the chosen tokens, mean over them."""
        if not outputs.any():
            return logits.sum() * 0.0
        return functional.cross_entropy(logits[outputs].float(), labels[outputs])

    def flatten(self, logits: Tensor, labels: Tensor, outputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """`[n, 2]`: negative log-likelihood (nats) and hit (0 or 1) of each chosen token; `[n]` what it was."""
        chosen, truth = logits[outputs].float(), labels[outputs]
        loss = functional.cross_entropy(chosen, truth, reduction="none")
        hit = (chosen.argmax(-1) == truth).float()
        return torch.stack([loss, hit], dim=-1).detach().cpu().numpy(), truth.cpu().numpy()

    def score(self, logits: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, float]:
        """`accuracy` at the chosen tokens and `perplexity`, from what `flatten` gave. Raises JobError for NaN."""
        loss, hit = finite(logits, "losses").astype(np.float64).T
        # exp of more than 80 nats says no more than 5e34 does, and infinity has no place in JSON.
        return {"accuracy": float(hit.mean()), "perplexity": math.exp(min(float(loss.mean()), 80.0))}

    def chance(self, labels: np.ndarray) -> float:
        """Accuracy of always guessing the most frequent token."""
        return float(np.bincount(labels).max() / len(labels))


def _choose(allowed: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Bool `[b, s]`: each allowed token with probability `share`, at least one in a batch that has any.

    A batch of few short texts can miss every token, and a mean over none would be NaN.
    """
    draw = torch.rand(allowed.shape, generator=generator).masked_fill(~allowed, 2.0)
    chosen = draw < share
    if allowed.any() and not chosen.any():
        chosen.view(-1)[draw.argmin()] = True
    return chosen
