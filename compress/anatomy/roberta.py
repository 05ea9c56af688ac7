"""RoBERTa (Liu et al. 2019, arXiv 1907.11692): BERT's parts, positions that count from the padding id."""

from __future__ import annotations

from typing import ClassVar

from compress.anatomy.base import ANATOMIES
from compress.anatomy.bert import Bert


@ANATOMIES.register("roberta")
class Roberta(Bert):
    """Positions start at `pad_token_id + 1` (2 in every published checkpoint); the head has its own dense layer."""

    position_offset: ClassVar[int] = 2
    pooler: ClassVar[str] = ""
    hidden_pooler: ClassVar[str] = "classifier.dense"
    output_layer: ClassVar[str] = "classifier.out_proj"
    mask_dense: ClassVar[str] = "lm_head.dense"
    mask_norm: ClassVar[str] = "lm_head.layer_norm"
    mask_bias: ClassVar[str] = "lm_head.bias"
