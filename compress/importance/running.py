"""Run a model over training texts as an app would: in eval mode, padding never counted, the model left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of, structure_of
from compress.anatomy.blocks import stored_layers
from compress.core.errors import InputError
from compress.importance.base import Batch
from compress.train.evaluate import inputs_of

DECODER = ("decoder_input_ids", "decoder_attention_mask")
See = Callable[[str, Tensor], None]


@contextmanager
def examined(model: PreTrainedModel) -> Iterator[None]:
    """Eval mode while the block runs; after it every part is in the mode it was in."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def run(model: PreTrainedModel, batch: Batch) -> Any:
    """The model's outputs for a batch on any device.

    A decoder of T5 reads `decoder_input_ids`, or else the labels, one place to the right. Raises InputError when it
    has neither.
    """
    taken = inputs_of(dict(batch), model.device)
    if not structure_of(model).token_type_embeddings:
        taken.pop("token_type_ids", None)
    taken |= {name: batch[name].to(model.device) for name in DECODER if name in batch}
    shift = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    if shift is not None and "decoder_input_ids" not in taken:
        if "labels" not in batch:
            raise InputError(
                f"a {type(model).__name__} also reads what its decoder has written so far; expected batches with "
                f"decoder_input_ids or labels, came {', '.join(sorted(batch))}"
            )
        taken["decoder_input_ids"] = shift(labels=batch["labels"].to(model.device))
    return model(**taken)


def real_tokens(name: str, read: Tensor, batch: Batch) -> Tensor:
    """Bool `[b, s]`: which tokens of what the part `name` reads (`[b, s, i]`) are no padding."""
    shape, mask = read.shape[:2], batch["attention_mask"]
    if "decoder." in f"{name}." and "encoder." not in f"{name}.":
        if "decoder_attention_mask" in batch:
            mask = batch["decoder_attention_mask"]
        elif "labels" in batch and batch["labels"].shape == shape:
            mask = batch["labels"] != -100
    if mask.shape != shape:
        return torch.ones(shape, dtype=torch.bool, device=read.device)
    return mask.bool().to(read.device)


def watch(model: PreTrainedModel, batches: Sequence[Batch], names: Sequence[str], see: See) -> None:
    """Runs all batches; `see(name, rows)` gets what each named part reads of real tokens, `[n, i]` float32.

    A part that runs several times is seen each time. The table of positions that DeBERTa's matrices read after the
    texts is not seen. names: matrices of blocks.
    """
    now: list[Batch] = []
    runs, calls = runs_of(model), dict[str, int]()

    def watching(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            read = inputs[0]
            calls[name] = calls.get(name, 0) + 1
            if calls[name] <= runs[name]:
                see(name, read[real_tokens(name, read, now[0])].float())

        return hook

    hooks = [model.get_submodule(name).register_forward_pre_hook(watching(name)) for name in names]
    try:
        with torch.no_grad(), examined(model):
            for batch in batches:
                now[:] = [batch]
                calls.clear()
                run(model, batch)
    finally:
        for hook in hooks:
            hook.remove()


def runs_of(model: PreTrainedModel) -> dict[str, int]:
    """How often every matrix of the blocks runs on a batch of texts: as often as its layer does."""
    structure = structure_of(model)
    layers = list(structure.layer_list(model))
    runs = [layers.count(layer) for layer in stored_layers(layers)]
    found = {
        name: runs[block.layer - 1]
        for block in structure.attention_blocks(model)
        for name in (*block.inputs, *block.beside, block.output)
    }
    feeds = structure.ffn_blocks(model)
    return found | {name: runs[feed.layer - 1] for feed in feeds for name in (*feed.inputs, feed.output)}


def watch_states(model: PreTrainedModel, batches: Sequence[Batch], see: Callable[[int, Tensor], None]) -> None:
    """Runs all batches; `see(number, rows)` gets every hidden state of real tokens `[n, d]`, 0 what layer 1 reads."""
    number, real = [0], [torch.zeros(0)]

    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        state = output[0] if isinstance(output, tuple) else output
        see(number[0], state[real[0]])
        number[0] += 1

    hooks = [part.register_forward_hook(hook) for part in state_parts(model)]
    try:
        with torch.no_grad(), examined(model):
            for batch in batches:
                number[0], real[0] = 0, batch["attention_mask"].bool().to(model.device)
                run(model, batch)
    finally:
        for each in hooks:
            each.remove()


def state_parts(model: PreTrainedModel) -> list[nn.Module]:
    """The parts whose outputs are the hidden states `[b, s, d]`, each once. Raises InputError for other families."""
    anatomy = anatomy_of(model)
    return list(dict.fromkeys(anatomy.state_part(model, number) for number in range(anatomy.depth(model) + 1)))
