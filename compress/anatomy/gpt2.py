"""GPT-2 (Radford et al. 2019): a decoder whose matrices are stored turned, queries, keys and values in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from transformers import PreTrainedModel

from compress.anatomy.blocks import AttentionBlock, FfnBlock, features, names_of
from compress.anatomy.structure import STRUCTURES, Structure, no_cross_attention
from compress.core.errors import InputError


@STRUCTURES.register("gpt2")
class Gpt2(Structure):
    """Pre-norm decoder with absolute positions and tied embeddings."""

    word_embeddings: ClassVar[str] = "wte"
    layers: ClassVar[str] = "h"
    head_counts: ClassVar[tuple[str, ...]] = ("num_heads",)
    head_features: ClassVar[tuple[str, ...]] = ("split_size",)
    head_size: ClassVar[str] = "head_dim"
    config_names: ClassVar[dict[str, str]] = {
        "layers": "n_layer",
        "width": "n_embd",
        "heads": "n_head",
        "ffn": "n_inner",
    }

    def attention_blocks(self, model: PreTrainedModel) -> list[AttentionBlock]:
        """One for each layer; `c_attn` gives all queries, then all keys, then all values."""
        no_cross_attention(model)
        names, blocks = names_of(model), []
        for number, layer in enumerate(self.layer_list(model), start=1):
            place, holder = f"{names[layer]}.attn", layer.get_submodule("attn")
            size = self.head_width(holder)
            heads = features(holder.get_submodule("c_proj"))[0] // size
            blocks.append(
                AttentionBlock(f"{place}.c_proj", number, (f"{place}.c_attn",), place, heads, size, fused=True)
            )
        return blocks

    def ffn_blocks(self, model: PreTrainedModel) -> list[FfnBlock]:
        """One for each layer."""
        names, blocks = names_of(model), []
        for number, layer in enumerate(self.layer_list(model), start=1):
            place, neurons = f"{names[layer]}.mlp", features(layer.get_submodule("mlp.c_fc"))[1]
            blocks.append(FfnBlock(f"{place}.c_proj", number, (f"{place}.c_fc",), neurons))
        return blocks

    def keep_layers(self, model: PreTrainedModel, kept: Sequence[int]) -> None:
        """As any family. Raises InputError where scores are divided by a layer's number and a number would change."""
        if _divides(model) and list(kept) != list(range(1, len(kept) + 1)):
            raise InputError(
                f"this GPT-2 divides its scores by the number of the layer (scale_attn_by_inverse_layer_idx), so only "
                f"its last layers can go; came layers {list(kept)} to keep, expected 1 to {len(kept)}"
            )
        super().keep_layers(model, kept)

    def best_layers(self, model: PreTrainedModel, ranked: Sequence[int], count: int) -> list[int]:
        """The first ones where scores are divided by a layer's number."""
        return super().best_layers(model, sorted(ranked) if _divides(model) else ranked, count)


def _divides(model: PreTrainedModel) -> bool:
    return bool(model.config.scale_attn_by_inverse_layer_idx)
