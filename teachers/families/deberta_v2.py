"""DeBERTa v2 and v3 (He et al., 2021, arXiv:2006.03654, 2111.09543): content and relative position attend apart."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import DebertaV2Config, PreTrainedConfig, PreTrainedTokenizerBase

from teachers.families.base import FAMILIES, Family, Shape, common


@FAMILIES.register("deberta-v2")
class DebertaV2(Family):
    """DeBERTa checkpoints: deberta-v3-small to large, mdeberta, v2. Their attention cannot be compared."""

    inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask", "token_type_ids")
    tokenizer: ClassVar[str] = "wordpiece"

    def config(self, shape: Shape, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
        """A `DebertaV2Config` with relative attention of both kinds, absolute positions and token types."""
        own: dict[str, Any] = {"share_att_key": True, "norm_rel_ebd": "layer_norm"}
        return DebertaV2Config(
            **common(shape, tokenizer),
            max_position_embeddings=shape.max_length,
            type_vocab_size=2,
            relative_attention=True,
            pos_att_type=["p2c", "c2p"],
            **own,
        )
