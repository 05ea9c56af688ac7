"""DistilBERT (Sanh et al., 2019, arXiv:1910.01108): BERT without token types and pooler."""

from __future__ import annotations

from typing import ClassVar

from transformers import DistilBertConfig, PreTrainedConfig, PreTrainedTokenizerBase

from teachers.families.base import FAMILIES, Family, Shape


@FAMILIES.register("distilbert")
class DistilBert(Family):
    """DistilBERT checkpoints: distilbert-base-uncased, cased, multilingual, and what was fine-tuned from them."""

    inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")
    tokenizer: ClassVar[str] = "wordpiece"

    def config(self, shape: Shape, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
        """A `DistilBertConfig` with exactly as many positions as the longest input."""
        return DistilBertConfig(
            vocab_size=len(tokenizer),
            dim=shape.width,
            n_layers=shape.layers,
            n_heads=shape.heads,
            hidden_dim=shape.ffn,
            dropout=shape.dropout,
            attention_dropout=shape.dropout,
            seq_classif_dropout=shape.dropout,
            max_position_embeddings=shape.max_length,
            pad_token_id=tokenizer.pad_token_id,
        )
