"""Run a model and keep only what a set of losses reads, through forward hooks.

Hooks take queries and keys from their projections, so attention scores come with any attention implementation (sdpa
gives no probabilities), and layers that nobody compares cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.core.errors import InputError
from compress.core.trace import Trace

Read = Callable[[Any, Mapping[str, Tensor]], Tensor]
Pool = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Wanted:
    """What of a model is kept.

    hidden: layers whose states `[b, s, d]` are kept, 0 for the embedding output. attention: layers (from 1) whose
    queries and keys `[b, h, s, e]` are kept; values: the same for values. logits: whether the task head runs; the
    vocabulary of a masked-token head costs more than the layers of a small model under it. embedding: whether texts
    are pooled into one vector `[b, d]` each.
    """

    hidden: frozenset[int] = frozenset()
    attention: frozenset[int] = frozenset()
    values: frozenset[int] = frozenset()
    logits: bool = True
    embedding: bool = False


class Tap:
    """Callable `tap(batch) -> Trace` over one model; `close` (or leaving a `with`) takes the hooks off.

    read: the task's logits in a model's outputs (`Task.read`). pool: one vector for each text from the last hidden
    state `[b, s, d]` and the mask `[b, s]` (`Task.pool`).
    """

    def __init__(
        self, model: PreTrainedModel, wanted: Wanted, *, read: Read | None = None, pool: Pool | None = None
    ) -> None:
        self.model = model
        self.wanted = wanted
        self.anatomy = anatomy_of(model)
        self.depth = self.anatomy.depth(model)
        self._read, self._pool = read or _logits, pool
        self._runs = model if wanted.logits else model.base_model
        self._hidden: dict[int, Tensor] = {}
        self._queries: dict[int, Tensor] = {}
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}
        self._running = False
        pooled = {self.depth} if wanted.embedding else set()
        self._hooks = [self._keep_hidden(layer) for layer in sorted(wanted.hidden | pooled)]
        for layers, parts in (
            (wanted.attention, ((self.anatomy.query, self._queries), (self.anatomy.key, self._keys))),
            (wanted.values, ((self.anatomy.value, self._values),)),
        ):
            for layer in sorted(layers):
                inside = self.anatomy.layer_list(model)[layer - 1]
                self._hooks += [self._keep_heads(inside.get_submodule(name), kept, layer) for name, kept in parts]

    def __call__(self, batch: Mapping[str, Tensor]) -> Trace:
        """Run the batch (`input_ids`, `attention_mask`, ...) and return what was kept."""
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}
        if "token_type_ids" in inputs and not self.anatomy.token_type_embeddings:
            del inputs["token_type_ids"]
        self._running = True
        outputs = self._runs(**inputs)
        self._running = False
        mask = batch["attention_mask"].bool()
        trace = Trace(
            mask=mask,
            logits=self._read(outputs, batch) if self.wanted.logits else None,
            outputs=batch.get("outputs"),
            labels=batch.get("labels"),
            hidden={layer: state for layer, state in self._hidden.items() if layer in self.wanted.hidden},
            queries=dict(self._queries),
            keys=dict(self._keys),
            values=dict(self._values),
            embedding=self._pooled(mask),
            groups=batch.get("groups"),
            depth=self.depth,
        )
        for kept in (self._hidden, self._queries, self._keys, self._values):
            kept.clear()
        return trace

    def _pooled(self, mask: Tensor) -> Tensor | None:
        if not self.wanted.embedding:
            return None
        if self._pool is None:
            raise InputError("a loss compares sentence embeddings, and this task pools none; use the task embed")
        return self._pool(self._hidden[self.depth], mask)

    def close(self) -> None:
        """Take the hooks off the model."""
        for hook in self._hooks:
            hook.remove()

    def __enter__(self) -> Tap:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _keep_hidden(self, layer: int) -> torch.utils.hooks.RemovableHandle:
        part: nn.Module = (
            self.anatomy.layer_list(self.model)[layer - 1]
            if layer
            else self.model.base_model.get_submodule(self.anatomy.embeddings)
        )

        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            self._hidden[layer] = output[0] if isinstance(output, tuple) else output

        return part.register_forward_hook(hook)

    def _keep_heads(self, part: nn.Module, kept: dict[int, Tensor], layer: int) -> torch.utils.hooks.RemovableHandle:
        heads = self.anatomy.heads(self.model)

        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if not self._running:  # the backward pass computes this layer again (gradient checkpointing)
                return
            batch, tokens, width = output.shape
            kept[layer] = output.view(batch, tokens, heads, width // heads).transpose(1, 2)

        return part.register_forward_hook(hook)


def _logits(outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
    found: Tensor = outputs.logits
    return found
