"""BERT (Devlin et al. 2019, arXiv 1810.04805)."""

from __future__ import annotations

from typing import ClassVar

from compress.anatomy.base import ANATOMIES, Anatomy


@ANATOMIES.register("bert")
class Bert(Anatomy):
    """Post-norm encoder with absolute positions, token types and a pooler."""

    embeddings: ClassVar[str] = "embeddings"
    word_embeddings: ClassVar[str] = "embeddings.word_embeddings"
    position_embeddings: ClassVar[str] = "embeddings.position_embeddings"
    token_type_embeddings: ClassVar[str] = "embeddings.token_type_embeddings"
    embedding_norm: ClassVar[str] = "embeddings.LayerNorm"
    layers: ClassVar[str] = "encoder.layer"
    query: ClassVar[str] = "attention.self.query"
    key: ClassVar[str] = "attention.self.key"
    value: ClassVar[str] = "attention.self.value"
    attention_output: ClassVar[str] = "attention.output.dense"
    attention_norm: ClassVar[str] = "attention.output.LayerNorm"
    ffn_in: ClassVar[str] = "intermediate.dense"
    ffn_out: ClassVar[str] = "output.dense"
    ffn_norm: ClassVar[str] = "output.LayerNorm"
    pooler: ClassVar[str] = "pooler.dense"
    mask_dense: ClassVar[str] = "cls.predictions.transform.dense"
    mask_norm: ClassVar[str] = "cls.predictions.transform.LayerNorm"
    mask_bias: ClassVar[str] = "cls.predictions.bias"
