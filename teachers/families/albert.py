"""ALBERT (Lan et al., 2020, arXiv:1909.11942): factorized embeddings, one layer that runs many times."""

from __future__ import annotations

from typing import ClassVar

from transformers import AlbertConfig, PreTrainedConfig, PreTrainedTokenizerBase

from teachers.families.base import FAMILIES, Family, Shape, common


@FAMILIES.register("albert")
class Albert(Family):
    """ALBERT checkpoints: albert-base-v2 to xxlarge-v2."""

    inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask", "token_type_ids")
    tokenizer: ClassVar[str] = "wordpiece"

    def config(self, shape: Shape, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
        """An `AlbertConfig` of one group with tables of width 128, or as wide as the layer when that is narrower."""
        return AlbertConfig(
            **common(shape, tokenizer),
            embedding_size=min(128, shape.width),
            classifier_dropout_prob=shape.dropout,
            max_position_embeddings=shape.max_length,
            type_vocab_size=2,
            bos_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id,
        )
