"""DistilBERT: fewer of the teacher's own layers (Sanh et al. 2019, arXiv 1910.01108)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from transformers import DistilBertConfig, PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.core.layer_maps import LayerMap
from compress.students.base import NOTHING, STUDENTS, Built, Given, StudentArchitecture
from compress.students.inherit import inherit
from compress.students.inits.teacher import Teacher
from compress.students.shape import architecture_facts
from compress.students.shaped import InitChoice, refuse_two_maps, sources_of


@STUDENTS.register("distilbert")
class DistilBertStudent(StudentArchitecture):
    """The teacher's width with part of its layers, copied by map; token types and pooler are dropped.

    Loads as a stock DistilBERT model of transformers. The teacher's dense layer before the classes (BERT's pooler)
    starts the student's `pre_classifier`.
    """

    layers: Annotated[int, Field(ge=1)] | Literal["half"] = Field(
        "half", description="number of layers; half of the teacher's, rounded up"
    )
    map: LayerMap = "uniform"
    init: InitChoice = Field(Teacher(), description="how weights start; teacher: copies of its layers")
    dropout: float | None = Field(None, ge=0, lt=1, description="null: the teacher's")

    @model_validator(mode="after")
    def _one_map(self) -> DistilBertStudent:
        refuse_two_maps(self.init, self.model_fields_set)
        return self

    def build(self, teacher: PreTrainedModel, auto_class: type[Any], given: Given = NOTHING) -> Built:
        """Make the student. Raises InputError for more layers than the teacher has, or a map past either depth."""
        depth = anatomy_of(teacher).depth(teacher)
        layers = (depth + 1) // 2 if self.layers == "half" else self.layers
        sources = sources_of(self.init, self.map, layers, teacher)
        student: PreTrainedModel = auto_class.from_config(self._config(teacher, layers))
        inherited = inherit(teacher, student, self.init, sources, given)
        return Built(student, {"shape": architecture_facts(student), **inherited})

    def _config(self, teacher: PreTrainedModel, layers: int) -> DistilBertConfig:
        anatomy, source = anatomy_of(teacher), teacher.config
        theirs = getattr(source, "hidden_dropout_prob", getattr(source, "dropout", 0.1))
        dropout = float(theirs) if self.dropout is None else self.dropout
        attention = float(getattr(source, "attention_probs_dropout_prob", getattr(source, "attention_dropout", theirs)))
        return DistilBertConfig(
            vocab_size=source.vocab_size,
            max_position_embeddings=source.max_position_embeddings - anatomy.position_offset,
            n_layers=layers,
            n_heads=anatomy.heads(teacher),
            dim=anatomy.width(teacher),
            hidden_dim=anatomy.ffn_width(teacher),
            dropout=dropout,
            attention_dropout=attention if self.dropout is None else self.dropout,
            seq_classif_dropout=dropout,
            activation=getattr(source, "hidden_act", None) or source.activation,
            initializer_range=source.initializer_range,
            pad_token_id=source.pad_token_id,
            id2label=source.id2label,
            label2id=source.label2id,
            problem_type=source.problem_type,
        )
