"""What an anatomy is: names of the parts of one architecture, and how to reach them in a model."""

from __future__ import annotations

from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.core.options import Options
from compress.core.registry import Catalogue


class Anatomy(Options):
    """Base of every family; class variables are dotted names. `layers`, `embeddings` start at the base model, the
    rest at one layer."""

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

    def layer_list(self, model: PreTrainedModel) -> nn.ModuleList:
        """The encoder layers of a model, with or without a task head."""
        found = model.base_model.get_submodule(self.layers)
        assert isinstance(found, nn.ModuleList)
        return found

    def heads(self, model: PreTrainedModel) -> int:
        """Attention heads per layer."""
        return int(getattr(model.config, "num_attention_heads"))


ANATOMIES: Catalogue[Anatomy] = Catalogue("anatomy", "anatomies", ("compress.anatomy",))


def anatomy_of(model: PreTrainedModel) -> Anatomy:
    """The anatomy of a model's family. Raises InputError, naming the family, when there is none."""
    family = str(model.config.model_type)
    if family not in ANATOMIES.names():
        known = ", ".join(ANATOMIES.names())
        raise InputError(f"models of the family {family!r} are not supported yet (supported: {known})")
    return ANATOMIES.get(family)()
