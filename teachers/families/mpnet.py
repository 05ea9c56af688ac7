"""MPNet (Song et al., 2020, arXiv:2004.09297): positions counted from the padding id + 1, and relative ones."""

from __future__ import annotations

from typing import ClassVar

from transformers import MPNetConfig, PreTrainedConfig, PreTrainedTokenizerBase

from compress.core.errors import InputError
from teachers.families.base import FAMILIES, Family, Shape, common


@FAMILIES.register("mpnet")
class MPNet(Family):
    """MPNet checkpoints: mpnet-base and the sentence encoders made of it. Their attention cannot be compared."""

    inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")
    position_offset: ClassVar[int] = 2
    tokenizer: ClassVar[str] = "byte_bpe"

    def config(self, shape: Shape, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
        """An `MPNetConfig` for a tokenizer whose padding has the id 1. Raises InputError for any other."""
        if tokenizer.pad_token_id != 1:
            raise InputError(
                f"family mpnet counts positions from a padding id of 1, but this tokenizer's is "
                f"{tokenizer.pad_token_id}; use `tokenizer: byte_bpe` with it, or `family: bert`"
            )
        return MPNetConfig(
            **common(shape, tokenizer),
            max_position_embeddings=shape.max_length + self.position_offset,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
