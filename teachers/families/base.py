"""What a family of teachers is: which checkpoints belong to it, what they read, how one is made from scratch."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from compress.core.errors import InputError
from compress.core.options import Options
from compress.core.registry import Catalogue


@dataclass(frozen=True)
class Shape:
    """A model from scratch: layers, width d, heads, inner width of the FFN, dropout, longest input in tokens."""

    layers: int
    width: int
    heads: int
    ffn: int
    dropout: float
    max_length: int


class Family(Options):
    """Base of every family; registered under the `model_type` that its checkpoints carry in config.json.

    inputs: what the model reads besides labels. position_offset: rows of the position table that no token uses, so
    that a table of n rows takes n - offset tokens. tokenizer: the kind that the family's checkpoints use.
    """

    inputs: ClassVar[tuple[str, ...]]
    position_offset: ClassVar[int] = 0
    tokenizer: ClassVar[str]

    @abstractmethod
    def config(self, shape: Shape, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
        """The configuration of a new model of this shape over this vocabulary."""

    def longest(self, config: PreTrainedConfig) -> int:
        """Tokens that a model of this configuration can read at once."""
        return int(config.max_position_embeddings) - self.position_offset


FAMILIES: Catalogue[Family] = Catalogue("family", "families", ("teachers.families",))


def family_of(model_type: str, source: str) -> Family:
    """The family of a checkpoint. Raises InputError, naming those that are known, when there is none."""
    if model_type not in FAMILIES.names():
        known = ", ".join(FAMILIES.names())
        raise InputError(
            f"{source}: a checkpoint of the family {model_type!r}, which cannot be a teacher yet (known: {known}); "
            "choose a checkpoint of one of these"
        )
    return FAMILIES.get(model_type)()


def common(shape: Shape, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Configuration keys that BERT and its descendants share."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.ffn,
        "hidden_dropout_prob": shape.dropout,
        "attention_probs_dropout_prob": shape.dropout,
        "pad_token_id": tokenizer.pad_token_id,
    }
