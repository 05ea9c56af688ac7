"""Where a teacher's trace of a batch comes from: a model that is run, or what it said before and was stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.anatomy.capture import Pool, Read, Tap, Wanted
from compress.core.trace import Trace


class Teacher(ABC):
    """depth: its layers. width: its hidden size d. `want` is called once, before the first `trace`."""

    depth: int
    width: int

    @abstractmethod
    def want(self, wanted: Wanted) -> None:
        """Say what traces must hold. Raises InputError when this teacher cannot give it."""

    @abstractmethod
    def trace(self, batch: Mapping[str, Tensor]) -> Trace:
        """What the teacher says of a batch, without gradients, on the batch's device."""

    def align(self, student: Trace, batch: Mapping[str, Tensor]) -> Trace:
        """The student's trace of a batch as this teacher's traces can be compared with: as it is, for equal tokens."""
        return student

    @abstractmethod
    def close(self) -> None:
        """Let go of what `want` took, so that a model is as it came."""


class LiveTeacher(Teacher):
    """A model, run for every batch in eval mode and without gradients."""

    def __init__(self, model: PreTrainedModel, *, read: Read | None = None, pool: Pool | None = None) -> None:
        model.train(False)
        self.model = model
        self.depth, self.width = anatomy_of(model).depth(model), anatomy_of(model).width(model)
        self._read, self._pool = read, pool
        self._tap: Tap | None = None

    def want(self, wanted: Wanted) -> None:
        """Put the hooks on."""
        self.close()
        self._tap = Tap(self.model, wanted, read=self._read, pool=self._pool)

    def trace(self, batch: Mapping[str, Tensor]) -> Trace:
        """Run the model, which follows the batch to its device."""
        assert self._tap is not None
        device = batch["input_ids"].device
        if self.model.device != device:
            nn.Module.to(self.model, device)
        with torch.no_grad():
            return self._tap(batch)

    def close(self) -> None:
        """Take the hooks off."""
        if self._tap is not None:
            self._tap.close()
        self._tap = None
