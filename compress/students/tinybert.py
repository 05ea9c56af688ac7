"""TinyBERT: any depth, width, heads and FFN (Jiao et al. 2020, arXiv 1909.10351)."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.core.errors import InputError
from compress.core.layer_maps import LayerMap
from compress.shapes.config import stock_config
from compress.students.base import NOTHING, STUDENTS, Built, Given, StudentArchitecture
from compress.students.inherit import inherit
from compress.students.inits.random import Random
from compress.students.shape import DROPOUTS, architecture_facts
from compress.students.shaped import InitChoice, refuse_two_maps, sources_of
from compress.train.zeros import drop


@STUDENTS.register("tinybert")
class TinyBertStudent(StudentArchitecture):
    """A thinner and shallower model of the teacher's own family; the defaults are the paper's 4 x 312.

    `init: truncated` takes the leading rows and columns of the teacher's matrices, layers by map; where nothing is
    thinner this is a plain copy. A general-stage student comes in through the step's `start:`.
    """

    layers: int = Field(4, ge=1, description="number of layers")
    width: int = Field(312, ge=8, description="hidden size")
    heads: int = Field(12, ge=1, description="attention heads; must divide the width")
    ffn: int | None = Field(
        None, ge=8, description="inner size of the feed-forward blocks; null: 4 x width, 1200 at 312"
    )
    init: InitChoice = Field(Random(), description="how weights start")
    map: LayerMap = "uniform"
    dropout: float | None = Field(None, ge=0, lt=1, description="null: the teacher's")

    @model_validator(mode="after")
    def _heads_divide(self) -> TinyBertStudent:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}; choose a multiple of it")
        return self

    @model_validator(mode="after")
    def _one_map(self) -> TinyBertStudent:
        refuse_two_maps(self.init, self.model_fields_set)
        return self

    def build(self, teacher: PreTrainedModel, auto_class: type[Any], given: Given = NOTHING) -> Built:
        """Make the student. Raises InputError when the initialisation asks for more than the teacher has."""
        sources = sources_of(self.init, self.map, self.layers, teacher)
        student: PreTrainedModel = auto_class.from_config(self._config(teacher))
        inherited = inherit(teacher, student, self.init, sources, given)
        return Built(student, {"shape": architecture_facts(student), **inherited})

    def _config(self, teacher: PreTrainedModel) -> Any:
        names = anatomy_of(teacher).config_names
        ffn = self.ffn if self.ffn is not None else 1200 if self.width == 312 else 4 * self.width
        config: Any = stock_config(teacher.config)
        drop(config)  # the student has no zeros of its own
        for part, size in (("layers", self.layers), ("width", self.width), ("heads", self.heads), ("ffn", ffn)):
            if names[part] not in config.to_dict():
                raise InputError(
                    f"{config.model_type} has no {names[part]} in its config; cannot shape a student of it"
                )
            setattr(config, names[part], size)
        _narrow_with(config, self.width)
        if self.dropout is not None:
            for name in DROPOUTS:
                if config.to_dict().get(name) is not None:
                    setattr(config, name, self.dropout)
        return config


def _narrow_with(config: Any, width: int) -> None:
    """Sizes of single families that may not exceed the width, or must equal it."""
    if getattr(config, "embedding_size", 0) > width:
        config.embedding_size = width
    if hasattr(config, "pooler_hidden_size"):
        config.pooler_hidden_size = width
