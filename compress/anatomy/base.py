"""What an anatomy is: names of the parts of one architecture, and how to reach them in a model."""

from __future__ import annotations

from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.core.options import Options
from compress.core.registry import Catalogue


class Anatomy(Options):
    """Base of every family; class variables are dotted names, empty where a family lacks the part.

    `embeddings` to `layers` and `pooler` start at the base model; `query` to `ffn_norm` at one layer;
    `hidden_pooler` (the dense layer before the classes, where it belongs to the head), `output_layer` and the `mask_`
    parts at the model with its head. `config_names`: what the family's config calls its shape.
    """

    embeddings: ClassVar[str]
    word_embeddings: ClassVar[str]
    position_embeddings: ClassVar[str]
    position_offset: ClassVar[int] = 0
    token_type_embeddings: ClassVar[str] = ""
    embedding_norm: ClassVar[str]
    layers: ClassVar[str]
    query: ClassVar[str]
    key: ClassVar[str]
    value: ClassVar[str]
    attention_output: ClassVar[str]
    attention_norm: ClassVar[str]
    ffn_in: ClassVar[str]
    ffn_out: ClassVar[str]
    ffn_norm: ClassVar[str]
    pooler: ClassVar[str] = ""
    hidden_pooler: ClassVar[str] = ""
    output_layer: ClassVar[str] = "classifier"
    mask_dense: ClassVar[str] = ""
    mask_norm: ClassVar[str] = ""
    mask_bias: ClassVar[str] = ""
    config_names: ClassVar[dict[str, str]] = {
        "layers": "num_hidden_layers",
        "width": "hidden_size",
        "heads": "num_attention_heads",
        "ffn": "intermediate_size",
    }

    def layer_list(self, model: PreTrainedModel) -> nn.ModuleList:
        """The encoder layers of a model, with or without a task head."""
        found = model.base_model.get_submodule(self.layers)
        assert isinstance(found, nn.ModuleList)
        return found

    def depth(self, model: PreTrainedModel) -> int:
        """Number of encoder layers."""
        return len(self.layer_list(model))

    def heads(self, model: PreTrainedModel) -> int:
        """Attention heads per layer."""
        return int(model.config.num_attention_heads)

    def width(self, model: PreTrainedModel) -> int:
        """Hidden size d."""
        return int(model.config.hidden_size)

    def ffn_width(self, model: PreTrainedModel) -> int:
        """Inner size of the feed-forward blocks."""
        inner = self.layer_list(model)[0].get_submodule(self.ffn_in)
        assert isinstance(inner, nn.Linear)
        return inner.out_features

    def layer_parts(self) -> tuple[str, ...]:
        """Dotted names of the parts of one layer, in an order that all families share."""
        return (self.query, self.key, self.value, self.attention_output, self.attention_norm,
                self.ffn_in, self.ffn_out, self.ffn_norm)  # fmt: skip


ANATOMIES: Catalogue[Anatomy] = Catalogue("anatomy", "anatomies", ("compress.anatomy",))


def anatomy_of(model: PreTrainedModel) -> Anatomy:
    """The anatomy of a model's family. Raises InputError, naming the family, when there is none."""
    family = str(model.config.model_type)
    if family not in ANATOMIES.names():
        known = ", ".join(ANATOMIES.names())
        raise InputError(f"models of the family {family!r} are not supported yet (supported: {known})")
    return ANATOMIES.get(family)()
