"""ELECTRA (Clark et al., 2020, arXiv:2003.10555): BERT's inputs, embedding tables that may be narrower."""

from __future__ import annotations

from typing import ClassVar

from transformers import ElectraConfig, PreTrainedConfig, PreTrainedTokenizerBase

from teachers.families.base import FAMILIES, Family, Shape, common


@FAMILIES.register("electra")
class Electra(Family):
    """ELECTRA checkpoints, the discriminators: electra-small, base and large."""

    inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask", "token_type_ids")
    tokenizer: ClassVar[str] = "wordpiece"

    def config(self, shape: Shape, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
        """An `ElectraConfig` with tables of width 128, or as wide as the layers when those are narrower."""
        return ElectraConfig(
            **common(shape, tokenizer),
            embedding_size=min(128, shape.width),
            max_position_embeddings=shape.max_length,
            type_vocab_size=2,
        )
