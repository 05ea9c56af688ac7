"""Run a model layer by layer over many texts, each layer from what the one before gave, whatever the family.

The model's own forward runs, so that masks, positions and relative biases are made as always; layers that are done
answer with what they gave when they were last run, and the run ends when the layer in question has given its state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.anatomy.blocks import names_of, stored_layers
from compress.importance.base import Batch
from compress.importance.running import run


class _ReachedError(Exception):
    """The layer in question has run as often as it runs on one batch."""


class Stages:
    """The stored layers of a model, run one after the other over the same batches.

    Holds what the last layer of each stack (encoder, decoder) gave for every batch, `[b, s, d]` in all. A layer whose
    runs are not next to each other (ALBERT with several inner layers) is run with all that stands before it.
    """

    def __init__(self, model: PreTrainedModel, batches: Sequence[Batch]) -> None:
        self.model, self.batches = model, batches
        runs = list(structure_of(model).layer_list(model))
        self.layers = stored_layers(runs)
        self._runs = [runs.count(layer) for layer in self.layers]
        names = names_of(model)
        self._stacks = [names[layer].rpartition(".")[0] for layer in self.layers]
        in_order = [layer for number, layer in enumerate(self.layers) for _ in range(self._runs[number])]
        self._skips = in_order == runs
        self._given: dict[str, list[Any]] = {}
        self._place = 0

    @property
    def place(self) -> int:
        """Which batch runs now, from 0."""
        return self._place

    @property
    def batch(self) -> Batch:
        """The one that runs now."""
        return self.batches[self._place]

    def repeats(self, number: int) -> bool:
        """Whether layer `number` (from 0) runs more than once on a batch."""
        return self._runs[number] > 1

    def read_by_head(self) -> list[Tensor] | None:
        """Bool `[b, s]` for every batch: the tokens whose last state the model's outputs depend on.

        A classifier that reads the first token has one for each text. Found by the gradient of the outputs, so that no
        family has to say it; of a text of which nothing would count, all does. The layers before the last must have
        been kept. None where every token counts, which one text shows (a tagger, a bare body, a vocabulary, whose
        outputs for all texts would be large), or where it cannot be told apart: the last layer runs at other depths,
        too, layers cannot answer without running, or there are two stacks.
        """
        last = len(self.layers) - 1
        if not self._skips or self._runs[last] > 1 or len(set(self._stacks)) > 1:
            return None
        first = self.batches[0]
        longest = int(first["attention_mask"].sum(1).argmax())
        if bool(self._read(0, slice(longest, longest + 1)).all()):
            return None
        return [self._read(place, slice(None)) for place in range(len(self.batches))]

    def _read(self, place: int, rows: slice) -> Tensor:
        """Bool `[r, s]`: the tokens of these rows of a batch that the outputs depend on."""
        last = len(self.layers) - 1
        self._place = place
        # Out of any inference mode: what it makes cannot be differentiated.
        with torch.inference_mode(False), torch.no_grad(), self._answering(last):
            given = self._until(last, self.batch)
            state = (given[0] if isinstance(given, tuple) else given)[rows].detach().clone().requires_grad_()
            batch = {name: held[rows].clone() for name, held in self.batch.items()}
        stack = self._stacks[last]
        kept = self._given.get(stack)
        self._given[stack] = [(state, *given[1:]) if isinstance(given, tuple) else state] * len(self.batches)
        try:
            with torch.inference_mode(False), torch.enable_grad(), self._answering(last + 1):
                slope = _slope(run(self.model, batch), state)
        finally:
            if kept is None:
                del self._given[stack]
            else:
                self._given[stack] = kept
        read, real = (slope != 0).any(-1), batch["attention_mask"].bool().to(state.device)
        return read | ~(read & real).any(1, keepdim=True)

    def run(self, number: int, *, keep: bool = False) -> None:
        """Layer `number` (from 0) over every batch, without gradients.

        keep: layers after it start from what it gives now. The layers before it must have been kept in their order.
        """
        given = []
        with torch.no_grad(), self._answering(number):
            for place in range(len(self.batches)):
                self._place = place
                given.append(self._until(number, self.batch))
        if keep and self._skips:
            self._given[self._stacks[number]] = given

    def _until(self, number: int, batch: Batch) -> Any:
        left, found = [self._runs[number]], []

        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            left[0] -= 1
            if not left[0]:
                found.append(output)
                raise _ReachedError

        handle = self.layers[number].register_forward_hook(hook)
        try:
            run(self.model, batch)
        except _ReachedError:
            pass
        finally:
            handle.remove()
        return found[0]

    @contextmanager
    def _answering(self, number: int) -> Iterator[None]:
        """Layers before `number` give what the last of their stack gave, without running."""
        quick = self.layers[:number] if self._skips else []
        for layer, stack in zip(quick, self._stacks, strict=False):
            layer.forward = self._answer(stack)
        try:
            yield
        finally:
            for layer in quick:
                del layer.forward

    def _answer(self, stack: str) -> Callable[..., Any]:
        return lambda *inputs, **named: self._given[stack][self._place]


def _slope(outputs: Any, state: Tensor) -> Tensor:
    """The gradient `[b, s, d]`, by the state, of all outputs with random weights, which do not cancel."""
    draw = torch.Generator().manual_seed(0)
    held = outputs if isinstance(outputs, tuple) else tuple(outputs.values())
    values = [one for one in held if isinstance(one, Tensor) and one.requires_grad]
    if not values:
        return torch.zeros_like(state)
    weights = [torch.randn(one.shape, generator=draw).to(one) for one in values]
    found = torch.autograd.grad(values, state, grad_outputs=weights, allow_unused=True)[0]
    return torch.zeros_like(state) if found is None else found
