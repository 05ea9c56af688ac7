"""T5 (Raffel et al. 2020, arXiv 1910.10683): an encoder, and a decoder that attends to itself and to the encoder."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import ClassVar

from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.blocks import AttentionBlock, FfnBlock, features, names_of
from compress.anatomy.structure import STRUCTURES, Structure, renumber
from compress.core.errors import InputError

TABLE = "layer.0.SelfAttention.relative_attention_bias"


@STRUCTURES.register("t5")
class T5(Structure):
    """Layers are counted through the encoder first, then through the decoder, where the model has one.

    The first block of each side holds the relative biases that all its blocks add to their scores. Attentions to the
    encoder add zeros, which the first of them makes for its own heads: they keep the same heads too.
    """

    word_embeddings: ClassVar[str] = "shared"
    layers: ClassVar[str] = "encoder.block"
    head_counts: ClassVar[tuple[str, ...]] = ("n_heads",)
    head_features: ClassVar[tuple[str, ...]] = ("inner_dim",)
    head_size: ClassVar[str] = "key_value_proj_dim"
    config_names: ClassVar[dict[str, str]] = {
        "layers": "num_layers",
        "width": "d_model",
        "heads": "num_heads",
        "ffn": "d_ff",
        "head_width": "d_kv",
    }

    def layer_list(self, model: PreTrainedModel) -> Sequence[nn.Module]:
        """The blocks of the encoder, then those of the decoder."""
        return [block for _, blocks in _sides(model) for block in blocks]

    def attention_blocks(self, model: PreTrainedModel) -> list[AttentionBlock]:
        """Attention of a side to itself, and of the decoder to the encoder."""
        names, blocks, number = names_of(model), [], 0
        for side, layers in _sides(model):
            table = f"{names[layers[0]]}.{TABLE}"
            for layer in layers:
                number += 1
                blocks.append(self._block(layer, names[layer], "layer.0.SelfAttention", number, table, table))
                if side == "decoder":
                    part = "layer.1.EncDecAttention"
                    blocks.append(self._block(layer, names[layer], part, number, f"{names[layers[0]]}.{part}", ""))
        return blocks

    def _block(self, layer: nn.Module, place: str, part: str, number: int, together: str, table: str) -> AttentionBlock:
        holder = layer.get_submodule(part)
        size = self.head_width(holder)
        return AttentionBlock(
            name=f"{place}.{part}.o", layer=number, inputs=tuple(f"{place}.{part}.{name}" for name in "qkv"),
            holder=f"{place}.{part}", heads=features(holder.get_submodule("q"))[1] // size, head_width=size,
            together=together, table=table,
        )  # fmt: skip

    def ffn_blocks(self, model: PreTrainedModel) -> list[FfnBlock]:
        """One for each layer; from version 1.1 on, two matrices give the neurons and one gates the other."""
        names, blocks = names_of(model), []
        for number, layer in enumerate(self.layer_list(model), start=1):
            dense = next(part for name, part in layer.named_modules() if name.endswith("DenseReluDense"))
            inner = [name for name, _ in dense.named_children() if name.startswith("wi")]
            inputs = tuple(f"{names[dense]}.{name}" for name in inner)
            blocks.append(FfnBlock(f"{names[dense]}.wo", number, inputs, features(dense.get_submodule("wo"))[0]))
        return blocks

    def keep_layers(self, model: PreTrainedModel, kept: Sequence[int]) -> None:
        """Each side keeps at least one block; the first that it keeps takes over the relative biases."""
        before = 0
        counts = {}
        for side, layers in _sides(model):
            numbers = [number - before for number in kept if before < number <= before + len(layers)]
            if not numbers:
                raise InputError(
                    f"all {len(layers)} layers of the {side} would go (numbers {before + 1} to "
                    f"{before + len(layers)}); keep at least one of them"
                )
            before += len(layers)
            left = nn.ModuleList([layers[number - 1] for number in numbers])
            _hand_on(layers[0], left[0])
            renumber(left)
            model.base_model.get_submodule(side).block = left
            counts[side] = len(left)
        self._write_depth(model, counts)

    def outliving(self, model: PreTrainedModel) -> list[nn.Module]:
        """The tables of relative biases."""
        return [layers[0].get_submodule(TABLE) for _, layers in _sides(model)]

    def _write_depth(self, model: PreTrainedModel, counts: dict[str, int]) -> None:
        for config in self.configs(model):
            config.num_layers = counts["encoder"]
            config.num_decoder_layers = counts.get("decoder", config.num_decoder_layers)
        if "decoder" in counts:  # its own copy calls its own depth num_layers
            stack = model.base_model.get_submodule("decoder")
            assert isinstance(stack, PreTrainedModel)
            stack.config.num_layers = counts["decoder"]

    def inputs(self, model: PreTrainedModel, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Every text ends in the end token, once; the decoder reads the same tokens backwards."""
        end = model.config.eos_token_id
        if isinstance(end, int):
            ids = ids.masked_fill((ids == end) & (mask == 1), (end + 1) % int(model.config.vocab_size))
            ids = ids.scatter(1, mask.sum(1, keepdim=True) - 1, end)
        given = super().inputs(model, ids, mask)
        if "decoder_input_ids" in inspect.signature(model.forward).parameters:
            given["decoder_input_ids"] = ids.flip(1)
        return given


def _sides(model: PreTrainedModel) -> Iterator[tuple[str, list[nn.Module]]]:
    for side in ("encoder", "decoder"):
        stack = getattr(model.base_model, side, None)
        if stack is not None:
            yield side, list(stack.block)


def _hand_on(first: nn.Module, heir: nn.Module) -> None:
    """Give the relative biases of a side's first block to another."""
    if heir is first:
        return
    old, new = (layer.get_submodule("layer.0.SelfAttention") for layer in (first, heir))
    new.relative_attention_bias = old.get_submodule("relative_attention_bias")
    new.has_relative_attention_bias = True  # type: ignore[assignment]
