"""The running mean of the loss and its terms, and the stop at the first NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from compress.core.errors import JobError
from compress.train.batches import Batch

# Reading a number from a GPU waits for it, so a GPU is asked once in a while; the CPU is asked at every step.
GPU_EVERY = 25

Terms = Mapping[str, float | Tensor]


@dataclass(frozen=True)
class Observed:
    """What one forward pass gave: the update it belongs to (from 1), its loss, terms and batch."""

    step: int
    loss: Tensor
    terms: Terms
    batch: Batch


@dataclass
class Meter:
    """Sums since the last entry of the history. `learning_rate` is only for the message of a failure."""

    module: nn.Module
    learning_rate: float
    every: int = 1
    count: int = 0
    loss: float = 0.0
    terms: dict[str, float] = field(default_factory=dict)
    latest: float = math.nan
    _losses: list[Observed] = field(default_factory=list)
    _norms: list[tuple[int, Tensor]] = field(default_factory=list)

    def add(self, seen: Observed) -> None:
        """Take one forward pass in. Raises JobError for a loss that is not finite."""
        self._losses.append(seen)
        if len(self._losses) >= self.every:
            self.drain()

    def add_norm(self, step: int, norm: Tensor) -> None:
        """Take the length of an update's gradient in. Raises JobError when it is not finite."""
        self._norms.append((step, norm))
        if len(self._norms) >= self.every:
            self.drain()

    def drain(self) -> None:
        """Read what is pending. Raises JobError for the first loss or gradient that is not finite."""
        for seen in self._losses:
            self._read(seen)
        for step, norm in self._norms:
            if not math.isfinite(float(norm)):
                raise JobError(
                    f"training stopped at step {step}: the gradient is {float(norm)} though the loss is finite. Likely "
                    f"a learning rate that is too high (it is {self.learning_rate:g}; try a third of it) or a loss "
                    "term without a gradient at zero distance. The weights of this step were not saved"
                )
        self._losses.clear()
        self._norms.clear()

    def _read(self, seen: Observed) -> None:
        failure = self.failure(seen)
        if failure:
            raise JobError(failure)
        value = float(seen.loss)
        terms = {name: float(term) for name, term in seen.terms.items()}
        self.count += 1
        self.loss += value
        self.latest = value
        for name, term in terms.items():
            self.terms[name] = self.terms.get(name, 0.0) + term

    def take(self) -> tuple[float | None, dict[str, float]]:
        """The mean loss and terms since the last call, and start anew."""
        self.drain()
        if not self.count:
            return None, {}
        means = {name: total / self.count for name, total in self.terms.items()}
        loss = self.loss / self.count
        self.count, self.loss, self.terms = 0, 0.0, {}
        return loss, means

    def state(self) -> dict[str, Any]:
        """The sums as plain JSON, for a checkpoint."""
        self.drain()
        return {"count": self.count, "loss": self.loss, "terms": dict(self.terms)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.count, self.loss, self.terms = int(state["count"]), float(state["loss"]), dict(state["terms"])

    def failure(self, seen: Observed) -> str:
        """Why a forward pass cannot be trained on, with the terms that are not finite; an empty text when it can."""
        value = float(seen.loss)
        if math.isfinite(value):
            return ""
        bad = [name for name, term in seen.terms.items() if not math.isfinite(float(term))]
        which = f" (term {', '.join(bad)})" if bad else ""
        return (
            f"training stopped at step {seen.step}: the loss{which} is {value}. Likely {self._cause(seen.batch)}. "
            "The weights of this step were not saved"
        )

    def _cause(self, batch: Batch) -> str:
        floats = {name: value for name, value in batch.items() if torch.is_floating_point(value)}
        dirty = [name for name, value in floats.items() if not bool(torch.isfinite(value).all())]
        if dirty:
            return f"the data: {', '.join(dirty)} of this batch holds NaN or infinity; clean the corpus"
        rate = f"a learning rate that is too high (it is {self.learning_rate:g}; try a third of it)"
        if all(bool(torch.isfinite(value).all()) for value in self.module.parameters()):
            return f"{rate}, or a loss term that has no value on this batch (the weights are still finite)"
        return f"{rate}: the weights are not finite any more"
