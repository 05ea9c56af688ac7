"""What every model that can be cut has, whatever its family: layers, attentions with heads, feed-forwards with neurons.

An encoder's anatomy (`compress/anatomy/base.py`) says much more, because students are built and compared by it. GPT-2
and T5 are structures only: they can be pruned, and neither teach nor start an encoder.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.blocks import AttentionBlock, FfnBlock
from compress.core.errors import InputError
from compress.core.family import stock_family
from compress.core.options import Options
from compress.core.registry import Catalogue


class Structure(Options):
    """Base of every family; class variables are dotted names from the base model down.

    `layers`: the list of layers. `config_names`: what the family's config calls its shape; `head_width` is in it where
    the config frees the heads from the width. `head_counts` and `head_features`: what an attention module calls its
    number of heads and their features in all; `head_size`: its width of one head. `layer_counts`: what the holder of
    the layers calls their number.
    """

    word_embeddings: ClassVar[str]
    token_type_embeddings: ClassVar[str] = ""
    position_offset: ClassVar[int] = 0
    layers: ClassVar[str]
    head_counts: ClassVar[tuple[str, ...]] = ("num_attention_heads",)
    head_features: ClassVar[tuple[str, ...]] = ("all_head_size",)
    head_size: ClassVar[str] = "attention_head_size"
    layer_counts: ClassVar[tuple[str, ...]] = ()
    config_names: ClassVar[dict[str, str]] = {
        "layers": "num_hidden_layers",
        "width": "hidden_size",
        "heads": "num_attention_heads",
        "ffn": "intermediate_size",
    }

    @abstractmethod
    def attention_blocks(self, model: PreTrainedModel) -> list[AttentionBlock]:
        """The attentions of the stored layers, as they are now: layers may differ in their heads."""

    @abstractmethod
    def ffn_blocks(self, model: PreTrainedModel) -> list[FfnBlock]:
        """The feed-forwards of the stored layers, as they are now."""

    def layer_list(self, model: PreTrainedModel) -> Sequence[nn.Module]:
        """The layers of a model in the order in which they run; a layer that runs twice stands there twice."""
        found = model.base_model.get_submodule(self.layers)
        assert isinstance(found, nn.ModuleList)
        return list(found)

    def depth(self, model: PreTrainedModel) -> int:
        """Number of layers, each counted as often as it runs."""
        return len(self.layer_list(model))

    def width(self, model: PreTrainedModel) -> int:
        """Hidden size d."""
        return int(getattr(model.config, self.config_names["width"]))

    def head_width(self, holder: nn.Module) -> int:
        """Width e of one head, from the module that keeps the number of heads."""
        return int(getattr(holder, self.head_size))

    def write_heads(self, holder: nn.Module, heads: int) -> None:
        """Tell an attention module how many heads it has now."""
        for name in self.head_counts:
            setattr(holder, name, heads)
        for name in self.head_features:
            setattr(holder, name, heads * self.head_width(holder))

    def configs(self, model: PreTrainedModel) -> list[Any]:
        """The model's config and the copies of it that its parts hold."""
        held = [model.config, *(part.config for part in model.modules() if isinstance(part, PreTrainedModel))]
        return list({id(config): config for config in held}.values())

    def write_config(self, model: PreTrainedModel, **numbers: int) -> None:
        """Put numbers (`heads=4`, names as in `config_names`) into every config of the model."""
        for config in self.configs(model):
            for name, value in numbers.items():
                setattr(config, self.config_names[name], value)

    def keep_layers(self, model: PreTrainedModel, kept: Sequence[int]) -> None:
        """Take all layers but `kept` (from 1, ascending) out of the model, in place, and write its config.

        Raises InputError when the family's stock class cannot run these layers alone.
        """
        holder, _, name = self.layers.rpartition(".")
        layers = self.layer_list(model)
        left = nn.ModuleList([layers[number - 1] for number in kept])
        setattr(model.base_model.get_submodule(holder), name, left)
        renumber(left)
        for name in self.layer_counts:
            setattr(model.base_model.get_submodule(holder), name, len(left))
        self.write_config(model, layers=len(left))

    def best_layers(self, model: PreTrainedModel, ranked: Sequence[int], count: int) -> list[int]:
        """The best `count` layers of one stack that the family's stock class can run alone, ascending.

        ranked: the numbers of all of its layers, from 1 as they run, the best first.
        """
        return sorted(ranked[:count])

    def outliving(self, model: PreTrainedModel) -> list[nn.Module]:
        """Parts of layers that stay in the model when their layer goes, because other layers use them."""
        return []

    def inputs(self, model: PreTrainedModel, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """What the model reads beside `ids` and `mask` `[b, s]`, so that all of its parts run."""
        return {"input_ids": ids, "attention_mask": mask}


def renumber(layers: nn.ModuleList) -> None:
    """Attentions that keep a cache know the number of their layer; give them those of the places where they stand."""
    for number, layer in enumerate(layers):
        for part in layer.modules():
            if getattr(part, "layer_idx", None) is not None:
                part.layer_idx = number  # type: ignore[assignment]


def no_cross_attention(model: PreTrainedModel) -> None:
    """Raises InputError for a decoder that also attends to an encoder, whose blocks nobody here names."""
    if getattr(model.config, "add_cross_attention", False):
        raise InputError(
            f"this {stock_family(model.config)} has cross-attention (add_cross_attention), which cannot be pruned; "
            f"expected a model without it"
        )


STRUCTURES: Catalogue[Structure] = Catalogue("structure", "structures", ("compress.anatomy",))
