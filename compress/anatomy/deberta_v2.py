"""DeBERTa v2 and v3 (He et al. 2021, arXiv 2006.03654, 2111.09543): content and relative position attend apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel

from compress.anatomy.base import ANATOMIES
from compress.anatomy.bert import Bert
from compress.core.errors import InputError
from compress.core.family import stock_family


@ANATOMIES.register("deberta-v2")
class DebertaV2(Bert):
    """Scores have two terms more than q k^T, from a table of relative positions that every layer projects."""

    query: ClassVar[str] = "attention.self.query_proj"
    key: ClassVar[str] = "attention.self.key_proj"
    value: ClassVar[str] = "attention.self.value_proj"
    hidden_projection: ClassVar[str] = "embeddings.embed_proj"
    drops_projection: ClassVar[bool] = True
    hidden_tables: ClassVar[tuple[str, ...]] = ("encoder.rel_embeddings",)
    hidden_norms: ClassVar[tuple[str, ...]] = ("encoder.LayerNorm", "encoder.conv.LayerNorm")
    hidden_mixes: ClassVar[tuple[str, ...]] = ("encoder.conv.conv",)
    beside: ClassVar[tuple[str, ...]] = ("attention.self.pos_key_proj", "attention.self.pos_query_proj")
    pooler: ClassVar[str] = ""
    hidden_pooler: ClassVar[str] = "pooler.dense"
    head_activation: ClassVar[str] = "gelu"
    mask_dense: ClassVar[str] = "cls.predictions.transform.dense"
    mask_norm: ClassVar[str] = "cls.predictions.transform.LayerNorm"
    mask_bias: ClassVar[str] = "cls.predictions.bias"
    config_names: ClassVar[dict[str, str]] = {**Bert.config_names, "head_width": "attention_head_size"}
    scores_lack: ClassVar[str] = "terms between content and relative positions"

    def keep_layers(self, model: PreTrainedModel, kept: Sequence[int]) -> None:
        """As any family. Raises InputError where the first layer has a convolution beside it and would go."""
        if _convolution(model) is not None and kept[0] != 1:
            raise InputError(
                f"a convolution stands beside the first layer of this {stock_family(model.config)}: layer 1 must stay; "
                f"came layers {list(kept)} to keep"
            )
        super().keep_layers(model, kept)

    def best_layers(self, model: PreTrainedModel, ranked: Sequence[int], count: int) -> list[int]:
        """The first one among them where it has a convolution beside it."""
        bound = [number for number in ranked if number == 1 and _convolution(model) is not None]
        return super().best_layers(model, [*bound, *(number for number in ranked if number not in bound)], count)

    def state_part(self, model: PreTrainedModel, layer: int) -> nn.Module:
        """Where v2 has a convolution beside its first layer, that gives the first state."""
        beside = _convolution(model)
        return super().state_part(model, layer) if layer != 1 or beside is None else beside


def _convolution(model: PreTrainedModel) -> nn.Module | None:
    """What v2 has beside its first layer."""
    found = getattr(model.base_model.encoder, "conv", None)
    return found if isinstance(found, nn.Module) else None
