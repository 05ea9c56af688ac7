"""RoBERTa (Liu et al., 2019, arXiv:1907.11692): positions counted from the padding id + 1, no token types."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import PreTrainedConfig, PreTrainedTokenizerBase, RobertaConfig

from compress.core.errors import InputError
from teachers.families.base import FAMILIES, Family, Shape, common


@FAMILIES.register("roberta")
class Roberta(Family):
    """RoBERTa checkpoints: roberta-base, distilroberta-base, domain RoBERTas.

    Padding has the id 1 and tokens take the positions from 2 on, so the position table has 2 rows more than the
    longest input.
    """

    inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")
    position_offset: ClassVar[int] = 2
    tokenizer: ClassVar[str] = "byte_bpe"
    made: ClassVar[Any] = RobertaConfig

    def config(self, shape: Shape, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
        """A `RobertaConfig` for a tokenizer whose padding has the id 1. Raises InputError for any other."""
        if tokenizer.pad_token_id != 1:
            raise InputError(
                f"family {self.registered_name} counts positions from a padding id of 1, but this tokenizer's is "
                f"{tokenizer.pad_token_id}; use `tokenizer: byte_bpe` with it, or `family: bert`"
            )
        config: PreTrainedConfig = self.made(
            **common(shape, tokenizer),
            max_position_embeddings=shape.max_length + self.position_offset,
            type_vocab_size=1,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        return config
