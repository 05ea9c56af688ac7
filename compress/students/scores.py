"""How much of a teacher hangs on each head, FFN neuron and hidden unit: by weights, by activations, by gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.core.errors import InputError
from compress.students.base import Batch, Given
from compress.students.narrowing import Weights, layer_weights
from compress.students.spectrum import gram

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass
class Scores:
    """heads: layer (from 1) to `[h]`; neurons: layer to `[f]`; hidden: `[d]`. Larger counts more."""

    heads: dict[int, Tensor]
    neurons: dict[int, Tensor]
    hidden: Tensor


@dataclass
class Inside:
    """Of one forward pass, in the order of layers: what the output matrices read, and every hidden state."""

    contexts: list[Tensor] = field(default_factory=list)
    activations: list[Tensor] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)


def magnitude_of_heads(layer: Weights, heads: int) -> Tensor:
    """`[h]`: size of a head's value matrix times that of its output matrix, and of its query times its key."""

    def sizes(role: str) -> Tensor:
        rows = layer[f"{role}.weight"] if role != "attention_output" else layer["attention_output.weight"].T
        found: Tensor = torch.linalg.vector_norm(rows.reshape(heads, -1), dim=1)
        return found

    return sizes("value") * sizes("attention_output") + sizes("query") * sizes("key")


def magnitude_of_neurons(layer: Weights) -> Tensor:
    """`[f]`: length of a neuron's row times the length of the column that it writes through."""
    rows, columns = layer["ffn_in.weight"], layer["ffn_out.weight"]
    sizes: Tensor = torch.linalg.vector_norm(rows, dim=1) * torch.linalg.vector_norm(columns, dim=0)
    return sizes


def by_magnitude(teacher: PreTrainedModel) -> Scores:
    """From the weights alone."""
    anatomy = anatomy_of(teacher)
    numbers = range(1, anatomy.depth(teacher) + 1)
    layers = {number: layer_weights(teacher, [number]) for number in numbers}
    hidden = torch.zeros(anatomy.width(teacher))
    for layer in layers.values():
        # Normalised states have the size 1 on average. Matrices tell less: theirs are large where states are small.
        for role in ("attention_norm", "ffn_norm"):
            hidden += _share(layer[f"{role}.weight"].square() + layer[f"{role}.bias"].square())
    return Scores(
        {number: magnitude_of_heads(layer, anatomy.heads(teacher)) for number, layer in layers.items()},
        {number: magnitude_of_neurons(layer) for number, layer in layers.items()},
        hidden,
    )


def by_activation(teacher: PreTrainedModel, batches: Sequence[Batch]) -> Scores:
    """Mean square of what each head and neuron adds to the hidden state of a real token, and of the state itself."""
    anatomy = anatomy_of(teacher)
    scores = _empty(teacher)
    weights = {number: layer_weights(teacher, [number]) for number in scores.heads}
    with torch.no_grad(), watched(teacher) as inside:
        for batch in batches:
            _run(teacher, inside, batch)
            real = batch["attention_mask"].bool()
            for number, layer in weights.items():
                context = _by_head(inside.contexts[number - 1][real], anatomy.heads(teacher))
                written = _by_head(layer["attention_output.weight"], anatomy.heads(teacher))
                lengths = torch.einsum("dhe,dhf->hef", written, written)
                scores.heads[number] += torch.einsum("the,hef,thf->h", context, lengths, context)
                columns = layer["ffn_out.weight"].square().sum(0)
                scores.neurons[number] += inside.activations[number - 1][real].square().sum(0) * columns
            for state in inside.states:
                scores.hidden += _share(state[real].square().sum(0))
    return scores


def by_taylor(teacher: PreTrainedModel, batches: Sequence[Batch], given: Given) -> Scores:
    """|activation x gradient of the task's loss|, summed over a text's tokens: the loss of taking the part away.

    First order, after Molchanov et al. 2017 (arXiv 1611.06440) and Michel et al. 2019 (arXiv 1905.10650). Raises
    InputError without a loss or without labels.
    """
    if given.loss is None:
        raise InputError(
            "by: taylor reads the task's loss, and the teacher has no head trained for this task; use "
            "`by: activation`, or fine-tune the teacher with a `teach` step first"
        )
    anatomy = anatomy_of(teacher)
    scores = _empty(teacher)
    with watched(teacher) as inside:
        for batch in batches:
            if "labels" not in batch:
                raise InputError("by: taylor needs labelled texts, and these have none; use `by: activation`")
            loss = given.loss(_run(teacher, inside, batch), batch)
            kept = [*inside.contexts, *inside.activations, *inside.states]
            slopes = torch.autograd.grad(loss, kept, allow_unused=True)
            effects = [
                torch.zeros_like(value).sum(1) if slope is None else (value * slope).sum(1).detach()
                for value, slope in zip(kept, slopes, strict=True)
            ]
            depth = len(inside.contexts)
            for number in scores.heads:
                effect = _by_head(effects[number - 1], anatomy.heads(teacher)).sum(-1)
                scores.heads[number] += effect.abs().sum(0)
                scores.neurons[number] += effects[depth + number - 1].abs().sum(0)
            for effect in effects[2 * depth :]:
                scores.hidden += effect.abs().sum(0)
    return scores


def hidden_moments(teacher: PreTrainedModel, batches: Sequence[Batch]) -> Tensor:
    """`[d, d]` second moments of centred hidden states of real tokens, every layer counting the same."""
    total = torch.zeros(1, dtype=torch.float64)
    with torch.no_grad(), watched(teacher) as inside:
        for batch in batches:
            _run(teacher, inside, batch)
            real = batch["attention_mask"].bool()
            for state in inside.states:
                total = total + int(real.sum()) * gram(state[real])
    return total / total.trace()


@contextmanager
def watched(teacher: PreTrainedModel) -> Iterator[Inside]:
    """Collects, while the block runs, what `Inside` holds; a layer that runs several times adds an entry each time."""
    anatomy, inside = anatomy_of(teacher), Inside()
    layers = dict.fromkeys(anatomy.layer_list(teacher))
    states = dict.fromkeys(anatomy.state_part(teacher, n) for n in range(anatomy.depth(teacher) + 1))

    def reads(kept: list[Tensor]) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            kept.append(inputs[0])

        return hook

    def gives(module: nn.Module, inputs: Any, output: Any) -> None:
        inside.states.append(output[0] if isinstance(output, tuple) else output)

    hooks = [state.register_forward_hook(gives) for state in states]
    for layer in layers:
        for name, kept in ((anatomy.attention_output, inside.contexts), (anatomy.ffn_out, inside.activations)):
            hooks.append(layer.get_submodule(name).register_forward_pre_hook(reads(kept)))
    try:
        yield inside
    finally:
        for hook in hooks:
            hook.remove()


def _run(teacher: PreTrainedModel, inside: Inside, batch: Batch) -> Any:
    for kept in (inside.contexts, inside.activations, inside.states):
        kept.clear()
    taken = {name: batch[name].to(teacher.device) for name in INPUTS if name in batch}
    if not anatomy_of(teacher).token_type_embeddings:
        taken.pop("token_type_ids", None)
    return teacher(**taken)


def _empty(teacher: PreTrainedModel) -> Scores:
    anatomy = anatomy_of(teacher)
    numbers = range(1, anatomy.depth(teacher) + 1)
    heads, ffn = anatomy.heads(teacher), anatomy.ffn_width(teacher)
    return Scores(
        {n: torch.zeros(heads) for n in numbers}, {n: torch.zeros(ffn) for n in numbers},
        torch.zeros(anatomy.width(teacher)),
    )  # fmt: skip


def _by_head(values: Tensor, heads: int) -> Tensor:
    """`[n, h * e]` as `[n, h, e]`."""
    return values.reshape(len(values), heads, -1)


def _share(values: Tensor) -> Tensor:
    return values / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
