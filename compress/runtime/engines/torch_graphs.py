"""CUDA graphs of a module: the launches of a whole forward pass recorded once and replayed as one."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

STEP, MOST = 16, 32
_WARM_UP = 3
_MASK, _IDS = "attention_mask", "input_ids"


@dataclass
class Recorded:
    """One graph with the tensors that it reads and writes. inputs: `[b, s]`; logits: `[b, c]` or `[b, s, c]`."""

    graph: torch.cuda.CUDAGraph
    inputs: dict[str, Tensor]
    logits: Tensor


class Replayed:
    """Calls of a module in eval mode on CUDA, replayed. A graph holds one shape, so lengths are padded to 16 tokens.

    The padding is computed, as it is by whoever uses graphs on text. The last 32 shapes are kept; a new one costs three
    calls and a recording. The logits are overwritten by the next call.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.pad = int(model.config.pad_token_id or 0)
        self.longest = int(getattr(model.config, "max_position_embeddings", 0) or 0)
        self._pool = torch.cuda.graph_pool_handle()
        self._recorded: dict[tuple[int, int], Recorded] = {}

    def __call__(self, **batch: Tensor) -> Any:
        """An object with `logits`, as the module gives it, for inputs `[b, s]`."""
        rows, length = batch[_IDS].shape
        shape = (rows, padded_length(length, self.longest))
        # Taken out and put back, so that the shape unused for longest comes first.
        found = self._recorded.pop(shape, None) or self._record(batch, shape)
        self._recorded[shape] = found
        if len(self._recorded) > MOST:
            del self._recorded[next(iter(self._recorded))]
        for name, place in found.inputs.items():
            place[:, length:] = self.pad if name == _IDS else 0
            place[:, :length].copy_(batch[name])
        found.graph.replay()
        return SimpleNamespace(logits=found.logits[:, :length] if found.logits.ndim > 2 else found.logits)

    def _record(self, batch: dict[str, Tensor], shape: tuple[int, int]) -> Recorded:
        inputs = {name: torch.full(shape, int(name == _MASK), dtype=x.dtype, device=x.device)
                  for name, x in batch.items()}  # fmt: skip
        with torch.cuda.device(inputs[_IDS].device):  # not always the first one
            side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    self.model(**inputs)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # One pool for all: every replay is read before the next, so that graphs may share their intermediates.
            with torch.cuda.graph(graph, pool=self._pool):
                logits = self.model(**inputs).logits
        return Recorded(graph, inputs, logits)


def padded_length(length: int, longest: int) -> int:
    """The next multiple of 16, but no more than the model's positions (0: no limit)."""
    rounded = -(-length // STEP) * STEP
    return max(length, min(rounded, longest) if longest else rounded)
