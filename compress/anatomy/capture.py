"""Run a model and keep only what a set of losses reads, through forward hooks.

Hooks take queries and keys from their projections, so attention scores come with any attention implementation (sdpa
gives no probabilities), and layers that nobody compares cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.core.trace import Trace


class Tap:
    """Callable `tap(batch) -> Trace` over one model; `close` (or leaving a `with`) takes the hooks off.

    hidden: layers whose states `[b, s, d]` are kept, 0 for the embedding output. attention: layers (from 1) whose
    queries and keys `[b, h, s, e]` are kept. logits: whether the task head runs; the vocabulary of a masked-token head
    costs more than the layers of a small model under it.
    """

    def __init__(
        self, model: PreTrainedModel, hidden: frozenset[int], attention: frozenset[int], *, logits: bool = True
    ) -> None:
        self.model = model
        self._runs = model if logits else model.base_model
        self.anatomy = anatomy_of(model)
        self.depth = self.anatomy.depth(model)
        self._hidden: dict[int, Tensor] = {}
        self._queries: dict[int, Tensor] = {}
        self._keys: dict[int, Tensor] = {}
        self._hooks = [self._keep_hidden(layer) for layer in sorted(hidden)]
        for layer in sorted(attention):
            parts = self.anatomy.layer_list(model)[layer - 1]
            self._hooks.append(self._keep_heads(parts.get_submodule(self.anatomy.query), self._queries, layer))
            self._hooks.append(self._keep_heads(parts.get_submodule(self.anatomy.key), self._keys, layer))

    def __call__(self, batch: Mapping[str, Tensor]) -> Trace:
        """Run the batch (`input_ids`, `attention_mask`, ...) and return what was kept."""
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}
        if "token_type_ids" in inputs and not self.anatomy.token_type_embeddings:
            del inputs["token_type_ids"]
        outputs = self._runs(**inputs)
        trace = Trace(
            mask=batch["attention_mask"].bool(),
            logits=getattr(outputs, "logits", None),
            outputs=batch.get("outputs"),
            labels=batch.get("labels"),
            hidden=dict(self._hidden),
            queries=dict(self._queries),
            keys=dict(self._keys),
            depth=self.depth,
        )
        for kept in (self._hidden, self._queries, self._keys):
            kept.clear()
        return trace

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
            batch, tokens, width = output.shape
            kept[layer] = output.view(batch, tokens, heads, width // heads).transpose(1, 2)

        return part.register_forward_hook(hook)
