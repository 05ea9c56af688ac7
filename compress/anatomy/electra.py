"""ELECTRA (Clark et al. 2020, arXiv 2003.10555): BERT's layers over embeddings that may be narrower."""

from __future__ import annotations

from typing import ClassVar

from compress.anatomy.base import ANATOMIES
from compress.anatomy.bert import Bert


@ANATOMIES.register("electra")
class Electra(Bert):
    """No pooler; a projection from the embeddings unless they are as wide as the layers."""

    embedding_projection: ClassVar[str] = "embeddings_project"
    drops_projection: ClassVar[bool] = True
    pooler: ClassVar[str] = ""
    hidden_pooler: ClassVar[str] = "classifier.dense"
    output_layer: ClassVar[str] = "classifier.out_proj"
    mask_dense: ClassVar[str] = "generator_predictions.dense"
    mask_norm: ClassVar[str] = "generator_predictions.LayerNorm"
    mask_bias: ClassVar[str] = "generator_lm_head.bias"
