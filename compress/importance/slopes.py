"""What the task's loss would change with every part, to first order and text by text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.importance.base import Batch, Evidence, Loss, Scores
from compress.importance.masks import masked, ones
from compress.importance.matrices import matrix_names, over_layers
from compress.importance.running import examined, run, state_parts
from compress.tasks.batch import labelled

Size = Callable[[Tensor], Tensor]
MASKED = frozenset({"heads", "neurons", "layers"})


@dataclass
class Slopes:
    """Of each text's own loss, by the mask over a part: heads and neurons `[b, h]` and `[b, f]` by block.

    states: `[b, d]` for each hidden state, by a mask over its units.
    """

    heads: dict[str, Tensor]
    neurons: dict[str, Tensor]
    states: list[Tensor]


def slopes(model: PreTrainedModel, batch: Batch, loss: Loss, states: bool = False) -> Slopes:
    """Exact gradients for every text, with one backward pass: each row of the batch has masks of its own.

    The slope by a mask at 1 is the sum over a text's tokens of activation times gradient. Padding has none, since no
    output that counts reads it. Losses that compare the rows of a batch with each other have no loss of one text; then
    it is the slope of the batch's. The model is expected in eval mode.
    """
    with torch.enable_grad(), _masked_states(model, states) as opened:
        masks = ones(model, rows=len(batch["input_ids"]))
        for mask in masks.every():
            mask.requires_grad_(True)
        with masked(model, masks):
            total = total_loss(loss(run(model, batch), batch), batch)
        found = torch.autograd.grad(total, [*masks.every(), *opened], allow_unused=True, materialize_grads=True)
    heads, neurons = len(masks.heads), len(masks.neurons)
    return Slopes(
        dict(zip(masks.heads, found[:heads], strict=True)),
        dict(zip(masks.neurons, found[heads : heads + neurons], strict=True)),
        list(found[heads + neurons :]),
    )


def total_loss(mean: Tensor, batch: Batch) -> Tensor:
    """The sum over what a loss is the mean of, so that no text counts less for the batch that it stands in."""
    count = len(batch["input_ids"])
    if "outputs" in batch:
        known = labelled(batch["labels"])
        counted = batch["outputs"].bool() & (known.all(-1) if known.dim() > batch["outputs"].dim() else known)
        count = int(counted.sum()) or count
    return mean * count


def mean_over_texts(model: PreTrainedModel, wanted: frozenset[str], evidence: Evidence, size: Size) -> Scores:
    """Mean over the texts of `size(slope)`, for every part in `wanted`.

    Of a layer: the slope by one mask over all of its heads and neurons. Of a weight: by a mask over it, which is weight
    times gradient.
    """
    assert evidence.loss is not None
    sums: dict[tuple[str, str], Tensor] = {}
    texts = 0

    def add(kind: str, name: str, effect: Tensor) -> None:
        found = size(effect.detach().float()).sum(0).cpu()
        sums[kind, name] = sums[kind, name] + found if (kind, name) in sums else found

    with examined(model):
        for batch in evidence.batches:
            texts += len(batch["input_ids"])
            if wanted & (MASKED | {"hidden"}):
                _add_slopes(model, slopes(model, batch, evidence.loss, "hidden" in wanted), wanted, add)
        if "weights" in wanted:
            for text in weight_slopes(model, evidence.batches, evidence.loss):
                for name, slope in text.items():
                    add("weights", name, (model.get_parameter(name).detach() * slope)[None])
    means = {key: value / texts for key, value in sums.items()}
    kinds = {kind: {name: value for (own, name), value in means.items() if own == kind} for kind, _ in means}
    return Scores(
        heads=kinds.get("heads", {}), neurons=kinds.get("neurons", {}), weights=kinds.get("weights", {}),
        hidden=kinds.get("hidden", {}).get(""), layers=kinds.get("layers", {}).get(""),
    )  # fmt: skip


def _add_slopes(
    model: PreTrainedModel, found: Slopes, wanted: frozenset[str], add: Callable[[str, str, Tensor], None]
) -> None:
    for kind, held in (("heads", found.heads), ("neurons", found.neurons)):
        if kind in wanted:
            for name, slope in held.items():
                add(kind, name, slope)
    if "layers" in wanted:
        add("layers", "", over_layers(model, [*found.heads.items(), *found.neurons.items()]))
    for state in found.states:
        add("hidden", "", state)


def weight_slopes(model: PreTrainedModel, batches: Sequence[Batch], loss: Loss) -> Iterator[dict[str, Tensor]]:
    """For every text in turn, the gradients of its loss by each matrix of the blocks, by parameter name.

    One text at a time: squares or sizes of a batch's mean would mostly cancel.
    """
    weights = {f"{name}.weight": model.get_submodule(name).get_parameter("weight") for name in matrix_names(model)}
    frozen = [weight for weight in weights.values() if not weight.requires_grad]
    for weight in frozen:
        weight.requires_grad_(True)
    try:
        for text in one_by_one(batches):
            with torch.enable_grad():
                total = total_loss(loss(run(model, text), text), text)
                found = torch.autograd.grad(total, list(weights.values()), allow_unused=True, materialize_grads=True)
            yield dict(zip(weights, found, strict=True))
    finally:
        for weight in frozen:
            weight.requires_grad_(False)


def one_by_one(batches: Sequence[Batch]) -> Iterator[Batch]:
    """Each row of each batch as a batch of its own, with its padding."""
    for batch in batches:
        for row in range(len(batch["input_ids"])):
            yield {name: value[row : row + 1] for name, value in batch.items()}


@contextmanager
def _masked_states(model: PreTrainedModel, wanted: bool) -> Iterator[list[Tensor]]:
    """Collects a mask of ones `[b, d]` over every hidden state while the block runs, in the order of the states."""
    opened: list[Tensor] = []

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        state = output[0] if isinstance(output, tuple) else output
        mask = torch.ones(len(state), state.shape[-1], device=state.device, dtype=state.dtype, requires_grad=True)
        opened.append(mask)
        scaled = state * mask[:, None, :]
        return (scaled, *output[1:]) if isinstance(output, tuple) else scaled

    hooks = [part.register_forward_hook(hook) for part in state_parts(model)] if wanted else []
    try:
        yield opened
    finally:
        for each in hooks:
            each.remove()
