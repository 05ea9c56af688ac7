"""MPNet (Song et al. 2020, arXiv 2004.09297): absolute positions as RoBERTa's, and a relative bias on every score."""

from __future__ import annotations

from typing import ClassVar

from compress.anatomy.base import ANATOMIES
from compress.anatomy.bert import Bert


@ANATOMIES.register("mpnet")
class MPNet(Bert):
    """One table of relative biases serves all layers; positions start after the padding id 1."""

    position_offset: ClassVar[int] = 2
    token_type_embeddings: ClassVar[str] = ""
    query: ClassVar[str] = "attention.attn.q"
    key: ClassVar[str] = "attention.attn.k"
    value: ClassVar[str] = "attention.attn.v"
    attention_output: ClassVar[str] = "attention.attn.o"
    attention_norm: ClassVar[str] = "attention.LayerNorm"
    pooler: ClassVar[str] = ""
    hidden_pooler: ClassVar[str] = "classifier.dense"
    output_layer: ClassVar[str] = "classifier.out_proj"
    mask_dense: ClassVar[str] = "lm_head.dense"
    mask_norm: ClassVar[str] = "lm_head.layer_norm"
    mask_bias: ClassVar[str] = "lm_head.bias"
    relative_table: ClassVar[str] = "encoder.relative_attention_bias"
    scores_lack: ClassVar[str] = "a bias for the distance of two tokens"
