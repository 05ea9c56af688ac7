"""Shapes: of a teacher, of a student, and the configuration keys that follow from one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.core.errors import InputError
from compress.core.family import is_uneven

DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "classifier_dropout_prob",
            "dropout", "attention_dropout", "seq_classif_dropout", "pooler_dropout")  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """Layers, hidden size, attention heads, inner size of the FFN, width of the embedding tables."""

    layers: int
    width: int
    heads: int
    ffn: int
    embedding: int

    @property
    def head_width(self) -> int:
        """Width e of one head."""
        return self.width // self.heads


def shape_of(model: PreTrainedModel) -> Shape:
    """The shape of a built model."""
    anatomy = anatomy_of(model)
    return Shape(
        layers=anatomy.depth(model),
        width=anatomy.width(model),
        heads=anatomy.heads(model),
        ffn=anatomy.ffn_width(model),
        embedding=anatomy.embedding_width(model),
    )


def architecture_facts(student: PreTrainedModel) -> dict[str, Any]:
    """Shape of the student, in the words of recipes; `embedding` where its tables are factorized."""
    shape = shape_of(student)
    facts: dict[str, Any] = {"layers": shape.layers, "width": shape.width, "heads": shape.heads, "ffn": shape.ffn}
    if is_uneven(student.config):  # these stand for its heads and FFN widths
        facts = {"layers": shape.layers, "width": shape.width, "shapes": student.config.shapes}
    return facts if shape.embedding == shape.width else {**facts, "embedding": shape.embedding}


def heads_for(teacher: Shape, width: int, heads: int | None) -> int:
    """The heads of a student: as asked, or those that keep the teacher's head width.

    Raises InputError when they do not divide the width.
    """
    if heads is None and width % teacher.head_width == 0:
        return width // teacher.head_width
    if heads is None:
        raise InputError(
            f"heads: a width of {width} cannot be cut into heads of the teacher's width {teacher.head_width}; "
            f"give `heads` that divide {width}, or a width that is a multiple of {teacher.head_width}"
        )
    if width % heads:
        raise InputError(f"heads: {heads} do not divide the width {width}; choose heads that do")
    return heads


def common(teacher: PreTrainedModel, shape: Shape, dropout: float | None) -> dict[str, Any]:
    """Configuration keys that BERT, ALBERT and ELECTRA share, with the teacher's vocabulary, positions and labels."""
    source, anatomy = teacher.config, anatomy_of(teacher)
    hidden = float(getattr(source, "hidden_dropout_prob", getattr(source, "dropout", 0.1)))
    attention = float(getattr(source, "attention_probs_dropout_prob", getattr(source, "attention_dropout", hidden)))
    types = int(getattr(source, "type_vocab_size", 1)) if anatomy.token_type_embeddings else 1
    return {
        "vocab_size": source.vocab_size,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.ffn,
        "hidden_act": getattr(source, "hidden_act", None) or source.activation,
        "hidden_dropout_prob": hidden if dropout is None else dropout,
        "attention_probs_dropout_prob": attention if dropout is None else dropout,
        "max_position_embeddings": source.max_position_embeddings - anatomy.position_offset,
        "type_vocab_size": max(types, 1),
        "layer_norm_eps": float(getattr(source, "layer_norm_eps", 1e-12)),
        "initializer_range": source.initializer_range,
        "pad_token_id": source.pad_token_id,
        "bos_token_id": source.bos_token_id,
        "eos_token_id": source.eos_token_id,
        "id2label": source.id2label,
        "label2id": source.label2id,
        "problem_type": source.problem_type,
    }
