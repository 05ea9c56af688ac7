"""Run a model and keep only what a set of losses reads, through forward hooks.

Hooks take queries and keys from their projections, so attention scores come with any attention implementation (sdpa
gives no probabilities), and layers that nobody compares cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
Reading = Callable[[Any], Tensor]


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
        self._calls: list[int] = []
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._watch(self._states(), wanted.hidden | pooled, self._hidden, _state)
        # Layers may have lost heads, and those left are as wide as before.
        holder = self._inside(self.anatomy.query.rpartition(".")[0])[1]
        heads = partial(_heads, width=self.anatomy.head_width(holder))
        for name, layers, kept in (
            (self.anatomy.query, wanted.attention, self._queries),
            (self.anatomy.key, wanted.attention, self._keys),
            (self.anatomy.value, wanted.values, self._values),
        ):
            self._watch(self._inside(name), layers, kept, heads)

    def __call__(self, batch: Mapping[str, Tensor]) -> Trace:
        """Run the batch (`input_ids`, `attention_mask`, ...) and return what was kept."""
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}
        if "token_type_ids" in inputs and not self.anatomy.token_type_embeddings:
            del inputs["token_type_ids"]
        self._calls = [0] * len(self._hooks)
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
            scores_lack=self.anatomy.scores_lack,
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

    def _states(self) -> dict[int, nn.Module]:
        """Layer to the part that gives its hidden state."""
        return {layer: self.anatomy.state_part(self.model, layer) for layer in range(self.depth + 1)}

    def _inside(self, name: str) -> dict[int, nn.Module]:
        """Layer to one of its parts."""
        layers = self.anatomy.layer_list(self.model)
        return {number: layer.get_submodule(name) for number, layer in enumerate(layers, 1)}

    def _watch(
        self, parts: Mapping[int, nn.Module], wanted: frozenset[int] | set[int], kept: dict[int, Tensor], read: Reading
    ) -> None:
        """Keep the outputs of the wanted layers' parts. A part that several layers share counts its calls."""
        shared: dict[nn.Module, list[int]] = {}
        for layer, part in sorted(parts.items()):
            shared.setdefault(part, []).append(layer)
        for part, layers in shared.items():
            if wanted.intersection(layers):
                number = len(self._hooks)
                self._hooks.append(part.register_forward_hook(self._hook(number, layers, wanted, kept, read)))

    def _hook(
        self,
        number: int,
        layers: Sequence[int],
        wanted: frozenset[int] | set[int],
        kept: dict[int, Tensor],
        read: Reading,
    ) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not self._running:  # beside the tap, or the backward pass computes this layer again (checkpointing)
                return
            call = self._calls[number]
            self._calls[number] = call + 1
            # A call too many: DeBERTa also projects its relative positions with a layer's matrices.
            if call < len(layers) and layers[call] in wanted:
                kept[layers[call]] = read(output)

        return hook


def _state(output: Any) -> Tensor:
    """A hidden state, in float32 also where the model's weights are bf16: sums over tokens follow."""
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found.float()


def _heads(output: Tensor, width: int) -> Tensor:
    """`[b, s, h * e]` as `[b, h, s, e]`; width: e."""
    batch, tokens, features = output.shape
    return output.view(batch, tokens, features // width, width).transpose(1, 2)


def _logits(outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
    found: Tensor = outputs.logits
    return found
