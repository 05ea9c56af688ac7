"""BERT (Devlin et al., 2019, arXiv:1810.04805): learnt positions from 0, token types for pairs."""

from __future__ import annotations

from typing import ClassVar

from transformers import BertConfig, PreTrainedConfig, PreTrainedTokenizerBase

from teachers.families.base import FAMILIES, Family, Shape, common


@FAMILIES.register("bert")
class Bert(Family):
    """BERT checkpoints: bert-base-uncased, MiniLM bodies of sentence-transformers, TinyBERT, domain BERTs."""

    inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask", "token_type_ids")
    tokenizer: ClassVar[str] = "wordpiece"

    def config(self, shape: Shape, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
        """A `BertConfig` with exactly as many positions as the longest input."""
        return BertConfig(**common(shape, tokenizer), max_position_embeddings=shape.max_length, type_vocab_size=2)
