"""What an anatomy is: names of the parts of one architecture, and how to reach them in a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel

from compress.anatomy.blocks import AttentionBlock, FfnBlock, names_of, stored_layers
from compress.core.errors import InputError
from compress.core.family import stock_family
from compress.core.options import Options
from compress.core.registry import Catalogue


class Anatomy(Options):
    """Base of every family; class variables are dotted names, empty where a family lacks the part.

    `embeddings` to `layers` and `pooler` start at the base model; `query` to `ffn_norm` at one layer;
    `hidden_pooler` (the dense layer before the classes, where it belongs to the head), `output_layer` and the `mask_`
    parts at the model with its head. `embedding_projection`: the matrix from factorized embeddings to the width.
    `head_activation`: what stands between that dense layer (or the pooler) and the classes. `config_names`: what the
    family's config calls its shape. `scores_lack`: what attention scores have besides q k^T / sqrt(e), empty when
    nothing; such scores cannot be compared, nor can the layers start another architecture.
    """

    embeddings: ClassVar[str]
    word_embeddings: ClassVar[str]
    position_embeddings: ClassVar[str]
    position_offset: ClassVar[int] = 0
    token_type_embeddings: ClassVar[str] = ""
    embedding_norm: ClassVar[str]
    embedding_projection: ClassVar[str] = ""
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
    head_activation: ClassVar[str] = "tanh"
    mask_dense: ClassVar[str] = ""
    mask_norm: ClassVar[str] = ""
    mask_bias: ClassVar[str] = ""
    scores_lack: ClassVar[str] = ""
    config_names: ClassVar[dict[str, str]] = {
        "layers": "num_hidden_layers",
        "width": "hidden_size",
        "heads": "num_attention_heads",
        "ffn": "intermediate_size",
    }

    def layer_list(self, model: PreTrainedModel) -> Sequence[nn.Module]:
        """The encoder layers of a model in the order in which they run; a layer that runs twice stands there twice."""
        found = model.base_model.get_submodule(self.layers)
        assert isinstance(found, nn.ModuleList)
        return list(found)

    def projection(self, model: PreTrainedModel) -> nn.Linear | None:
        """The matrix from factorized embeddings to the width, where the model has one."""
        if not self.embedding_projection or not hasattr(model.base_model, self.embedding_projection.partition(".")[0]):
            return None
        found = model.base_model.get_submodule(self.embedding_projection)
        assert isinstance(found, nn.Linear)
        return found

    def state_part(self, model: PreTrainedModel, layer: int) -> nn.Module:
        """The part whose output is the hidden state `[b, s, d]` of `layer`; 0 is what the first layer reads."""
        if layer:
            return self.layer_list(model)[layer - 1]
        return self.projection(model) or model.base_model.get_submodule(self.embeddings)

    def depth(self, model: PreTrainedModel) -> int:
        """Number of encoder layers, each counted as often as it runs."""
        return len(self.layer_list(model))

    def heads(self, model: PreTrainedModel) -> int:
        """Attention heads per layer."""
        return int(model.config.num_attention_heads)

    def width(self, model: PreTrainedModel) -> int:
        """Hidden size d."""
        return int(model.config.hidden_size)

    def embedding_width(self, model: PreTrainedModel) -> int:
        """Width E of the embedding tables: the hidden size unless they are factorized."""
        table = model.base_model.get_submodule(self.word_embeddings)
        assert isinstance(table, nn.Embedding)
        return table.embedding_dim

    def ffn_width(self, model: PreTrainedModel) -> int:
        """Inner size of the feed-forward blocks."""
        inner = self.layer_list(model)[0].get_submodule(self.ffn_in)
        assert isinstance(inner, nn.Linear)
        return inner.out_features

    def attention_blocks(self, model: PreTrainedModel) -> list[AttentionBlock]:
        """The attentions of the stored layers, as they are now: layers may differ in their heads."""
        names, blocks = names_of(model), []
        for number, layer in enumerate(stored_layers(self.layer_list(model)), start=1):
            place = names[layer]
            holder = self.query.rpartition(".")[0]
            width = layer.get_submodule(self.query).get_parameter("weight").shape[0]
            size = self.head_width(layer.get_submodule(holder))
            blocks.append(
                AttentionBlock(
                    name=f"{place}.{self.attention_output}", layer=number,
                    inputs=tuple(f"{place}.{part}" for part in (self.query, self.key, self.value)),
                    holder=f"{place}.{holder}", heads=width // size, head_width=size,
                )
            )  # fmt: skip
        return blocks

    def ffn_blocks(self, model: PreTrainedModel) -> list[FfnBlock]:
        """The feed-forwards of the stored layers, as they are now."""
        names, blocks = names_of(model), []
        for number, layer in enumerate(stored_layers(self.layer_list(model)), start=1):
            place = names[layer]
            neurons = layer.get_submodule(self.ffn_in).get_parameter("weight").shape[0]
            blocks.append(FfnBlock(f"{place}.{self.ffn_out}", number, (f"{place}.{self.ffn_in}",), neurons))
        return blocks

    def head_width(self, holder: nn.Module) -> int:
        """Width e of one head, from the module that keeps the number of heads."""
        return int(holder.attention_head_size)  # type: ignore[arg-type]

    def layer_parts(self) -> tuple[str, ...]:
        """Dotted names of the parts of one layer, in an order that all families share."""
        return (self.query, self.key, self.value, self.attention_output, self.attention_norm,
                self.ffn_in, self.ffn_out, self.ffn_norm)  # fmt: skip


ANATOMIES: Catalogue[Anatomy] = Catalogue("anatomy", "anatomies", ("compress.anatomy",))


def anatomy_of(model: PreTrainedModel) -> Anatomy:
    """The anatomy of a model's family. Raises InputError, naming the family, when there is none."""
    family = stock_family(model.config)
    if family not in ANATOMIES.names():
        known = ", ".join(ANATOMIES.names())
        raise InputError(f"models of the family {family!r} are not supported yet (supported: {known})")
    return ANATOMIES.get(family)()
