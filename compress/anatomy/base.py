"""What an anatomy is: names of the parts of one architecture, and how to reach them in a model."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.blocks import AttentionBlock, FfnBlock, features, names_of, stored_layers
from compress.anatomy.structure import STRUCTURES, Structure, no_cross_attention
from compress.core.errors import InputError
from compress.core.family import stock_family
from compress.core.registry import Catalogue


class Anatomy(Structure):
    """Base of every encoder; class variables are dotted names, empty where a family lacks the part.

    `embeddings` to `layers` and `pooler` start at the base model; `query` to `ffn_norm` at one layer;
    `hidden_pooler` (the dense layer before the classes, where it belongs to the head), `output_layer` and the `mask_`
    parts at the model with its head. `embedding_projection`: the matrix from factorized embeddings to the width.
    `head_activation`: what stands between that dense layer (or the pooler) and the classes. `config_names`: what the
    family's config calls its shape. `scores_lack`: what attention scores have besides q k^T / sqrt(e), empty when
    nothing; such scores cannot be compared, nor can the layers start another architecture.
    `beside`: parts of a layer that give features of heads beside q, k and v, where the model has them.
    `relative_table`: what all layers add to their scores, one column for each head. `hidden_projection`: as
    `embedding_projection`, but the embedding norm acts behind it. `drops_projection`: no projection where both spaces
    are of one width. `hidden_tables`, `hidden_norms`, `hidden_mixes`: tables, norms and matrices of the hidden space
    beside embeddings and layers, from the base model down.
    """

    embeddings: ClassVar[str]
    position_embeddings: ClassVar[str]
    embedding_norm: ClassVar[str]
    embedding_projection: ClassVar[str] = ""
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
    beside: ClassVar[tuple[str, ...]] = ()
    relative_table: ClassVar[str] = ""
    hidden_projection: ClassVar[str] = ""
    drops_projection: ClassVar[bool] = False
    hidden_tables: ClassVar[tuple[str, ...]] = ()
    hidden_norms: ClassVar[tuple[str, ...]] = ()
    hidden_mixes: ClassVar[tuple[str, ...]] = ()

    def projection(self, model: PreTrainedModel) -> nn.Module | None:
        """The matrix from factorized embeddings to the width, where there is one: a Linear, or a product of two."""
        if not self.embedding_projection or not hasattr(model.base_model, self.embedding_projection.partition(".")[0]):
            return None
        return model.base_model.get_submodule(self.embedding_projection)

    def state_part(self, model: PreTrainedModel, layer: int) -> nn.Module:
        """The part whose output is the hidden state `[b, s, d]` of `layer`; 0 is what the first layer reads."""
        if layer:
            return self.layer_list(model)[layer - 1]
        return self.projection(model) or model.base_model.get_submodule(self.embeddings)

    def heads(self, model: PreTrainedModel) -> int:
        """Attention heads per layer."""
        return int(model.config.num_attention_heads)

    def embedding_width(self, model: PreTrainedModel) -> int:
        """Width E of the embedding tables: the hidden size unless they are factorized."""
        table = model.base_model.get_submodule(self.word_embeddings)
        assert isinstance(table, nn.Embedding)
        return table.embedding_dim

    def factorized(self, model: PreTrainedModel) -> bool:
        """Whether a projection leads from the embeddings' own space to the hidden one."""
        held = dict(model.base_model.named_modules())
        return any(name and name in held for name in (self.embedding_projection, self.hidden_projection))

    def ffn_width(self, model: PreTrainedModel) -> int:
        """Inner size of the feed-forward blocks."""
        return features(self.layer_list(model)[0].get_submodule(self.ffn_in))[1]

    def attention_blocks(self, model: PreTrainedModel) -> list[AttentionBlock]:
        """The attentions of the stored layers, as they are now: layers may differ in their heads."""
        no_cross_attention(model)
        names, blocks = names_of(model), []
        table = names[model.base_model.get_submodule(self.relative_table)] if self.relative_table else ""
        for number, layer in enumerate(stored_layers(self.layer_list(model)), start=1):
            place, holder = names[layer], self.query.rpartition(".")[0]
            size = self.head_width(layer.get_submodule(holder))
            held = dict(layer.named_modules())
            blocks.append(
                AttentionBlock(
                    name=f"{place}.{self.attention_output}", layer=number,
                    inputs=tuple(f"{place}.{part}" for part in (self.query, self.key, self.value)),
                    holder=f"{place}.{holder}", heads=features(held[self.query])[1] // size, head_width=size,
                    together=table, table=table,
                    beside=tuple(f"{place}.{part}" for part in self.beside if part in held),
                )
            )  # fmt: skip
        return blocks

    def ffn_blocks(self, model: PreTrainedModel) -> list[FfnBlock]:
        """The feed-forwards of the stored layers, as they are now."""
        names, blocks = names_of(model), []
        for number, layer in enumerate(stored_layers(self.layer_list(model)), start=1):
            place, neurons = names[layer], features(layer.get_submodule(self.ffn_in))[1]
            blocks.append(FfnBlock(f"{place}.{self.ffn_out}", number, (f"{place}.{self.ffn_in}",), neurons))
        return blocks

    def inputs(self, model: PreTrainedModel, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Token types too, where the model has several."""
        given = super().inputs(model, ids, mask)
        if self.token_type_embeddings and getattr(model.config, "type_vocab_size", 0) > 1:
            given["token_type_ids"] = ids % 2 * mask
        return given

    def layer_parts(self) -> tuple[str, ...]:
        """Dotted names of the parts of one layer, in an order that all families share."""
        return (self.query, self.key, self.value, self.attention_output, self.attention_norm,
                self.ffn_in, self.ffn_out, self.ffn_norm)  # fmt: skip


ANATOMIES: Catalogue[Anatomy] = Catalogue("anatomy", "anatomies", ("compress.anatomy",))


def anatomy_of(model: PreTrainedModel) -> Anatomy:
    """The anatomy of an encoder's family. Raises InputError, naming the family, when there is none."""
    family = stock_family(model.config)
    if family not in ANATOMIES.names():
        known = ", ".join(ANATOMIES.names())
        raise InputError(f"models of the family {family!r} are not supported yet (supported: {known})")
    return ANATOMIES.get(family)()


def structure_of(model: PreTrainedModel) -> Structure:
    """What can be cut of a model, encoder or not. Raises InputError, naming the family, when there is nothing."""
    family = stock_family(model.config)
    for catalogue in (ANATOMIES, STRUCTURES):
        if family in catalogue.names():
            return catalogue.get(family)()
    known = ", ".join(prunable_families())
    raise InputError(f"models of the family {family!r} cannot be pruned yet (can be: {known})")


def prunable_families() -> list[str]:
    """Every family that `structure_of` knows, sorted."""
    return sorted({*ANATOMIES.names(), *STRUCTURES.names()})
