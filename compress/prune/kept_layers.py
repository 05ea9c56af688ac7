"""Depth: whole layers out of a model. What is left of a stock model is a stock model, only shorter."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.anatomy.blocks import names_of
from compress.core.errors import InputError
from compress.shapes.settle import settle


def keep_layers(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """A copy with only the layers `kept`, numbered from 1 in the order in which they run, ascending.

    T5 counts through its encoder, then through its decoder. ALBERT counts runs of its shared layers.

    Raises InputError when none would be left or numbers are wrong, or when the family's stock class cannot run these
    layers alone.
    """
    structure = structure_of(model)
    depth, numbers = structure.depth(model), list(kept)
    if not numbers or numbers != sorted(set(numbers)) or numbers[0] < 1 or numbers[-1] > depth:
        raise InputError(f"layers to keep: expected some of 1 to {depth}, ascending, each once; came {numbers}")
    smaller = copy.deepcopy(model)
    structure.keep_layers(smaller, numbers)
    return settle(smaller)


def stacks_of(model: PreTrainedModel) -> list[list[int]]:
    """The numbers of the layers, from 1 as they run: the encoder's and, where it has one, the decoder's."""
    names = names_of(model)
    stacks: dict[bool, list[int]] = {}
    for number, layer in enumerate(structure_of(model).layer_list(model), start=1):
        stacks.setdefault("decoder" in names[layer].split("."), []).append(number)
    return list(stacks.values())


def first_layers(model: PreTrainedModel) -> list[list[int]]:
    """What to keep for a model of half the depth and for the shortest, whichever of them is shorter than the model."""
    stacks, best = stacks_of(model), structure_of(model).best_layers
    half = [number for stack in stacks for number in best(model, stack, max(1, len(stack) // 2))]
    one = [number for stack in stacks for number in best(model, stack, 1)]
    whole = sum(map(len, stacks))
    return [some for some in ([one] if one == half else [one, half]) if len(some) < whole]


@dataclass(frozen=True)
class LayerPlan:
    """The layers that are kept, from 1; a plan for `prove`."""

    kept: tuple[int, ...]

    def parameters(self, original: PreTrainedModel) -> int:
        """The original's number less the layers that no longer run, but for parts that the others still need."""
        structure = structure_of(original)
        layers = structure.layer_list(original)
        left = {layers[number - 1] for number in self.kept}
        needed = {id(value) for layer in left for value in layer.parameters()}
        needed |= {id(value) for part in structure.outliving(original) for value in part.parameters()}
        gone = {id(v): v.numel() for layer in set(layers) - left for v in layer.parameters() if id(v) not in needed}
        return sum(value.numel() for value in original.parameters()) - sum(gone.values())

    def folded(self, original: PreTrainedModel) -> LayerPlan:
        """Nothing is rounded."""
        return self

    def outputs(self, original: PreTrainedModel, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """All of them."""
        return found

    @contextmanager
    def without(self, original: PreTrainedModel) -> Iterator[None]:
        """Every layer that goes gives back the states that it read."""
        runs: dict[nn.Module, list[bool]] = {}
        for number, layer in enumerate(structure_of(original).layer_list(original), start=1):
            runs.setdefault(layer, []).append(number in self.kept)
        with ExitStack() as stack:
            for layer, stays in runs.items():
                hook = layer.register_forward_hook(_passing(stays), with_kwargs=True)
                stack.callback(hook.remove)
            yield


def _passing(stays: list[bool]) -> Any:
    """A hook for a layer that runs as often as `stays` is long, and stays in some of these runs."""
    calls = 0

    def hook(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        nonlocal calls
        run = calls % len(stays)
        calls += 1
        if stays[run]:
            return output
        read = inputs[0] if inputs else named["hidden_states"]
        return (read, *output[1:]) if isinstance(output, tuple) else read

    return hook
