"""Students of any depth, width, heads and FFN: their options, and how one is built."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from transformers import PreTrainedConfig, PreTrainedModel

from compress.core.errors import InputError
from compress.core.layer_maps import LayerMap
from compress.core.options import Choice
from compress.students.base import NOTHING, Built, Given, StudentArchitecture
from compress.students.inherit import Sources, inherit, mapped
from compress.students.inits.base import INITS, Init
from compress.students.inits.random import Random
from compress.students.shape import Shape, architecture_facts, heads_for, shape_of

Depth = Annotated[int, Field(ge=1)] | Literal["half", "all"]
InitChoice = Annotated[Init, Choice(INITS)]


class ShapedStudent(StudentArchitecture):
    """Base of students with a shape of their own. Whatever is not given is the teacher's."""

    layers: Depth = Field("half", description="number of layers; half of the teacher's (rounded up), or all")
    width: int | None = Field(None, ge=8, description="hidden size; null: the teacher's")
    heads: int | None = Field(None, ge=1, description="attention heads; null: as wide as the teacher's")
    ffn: int | None = Field(
        None, ge=8, description="inner size of the feed-forward blocks; null: as many times the width as the teacher's"
    )
    init: InitChoice = Field(Random(), description="how weights start")
    dropout: float | None = Field(None, ge=0, lt=1, description="null: the teacher's")

    @model_validator(mode="after")
    def _heads_divide(self) -> ShapedStudent:
        if self.width is not None and self.heads is not None and self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}; choose a multiple of it")
        return self

    def build(self, teacher: PreTrainedModel, auto_class: type[Any], given: Given = NOTHING) -> Built:
        """Make the student. Raises InputError for a shape that is none, or that the initialisation cannot reach."""
        shape = self.shape(shape_of(teacher))
        sources = self.sources(teacher, shape.layers)
        student: PreTrainedModel = auto_class.from_config(self.config(teacher, shape))
        inherited = inherit(teacher, student, self.init, sources, given)
        return Built(student, {"shape": architecture_facts(student), **inherited})

    def shape(self, teacher: Shape) -> Shape:
        """The shape that these options give a student of such a teacher."""
        layers = self.layers
        if not isinstance(layers, int):
            layers = teacher.layers if layers == "all" else (teacher.layers + 1) // 2
        width = teacher.width if self.width is None else self.width
        ffn = round(teacher.ffn * width / teacher.width) if self.ffn is None else self.ffn
        return Shape(layers, width, heads_for(teacher, width, self.heads), ffn, width)

    @abstractmethod
    def config(self, teacher: PreTrainedModel, shape: Shape) -> PreTrainedConfig:
        """The configuration of a student of this shape."""

    @abstractmethod
    def sources(self, teacher: PreTrainedModel, layers: int) -> Sources:
        """Student layer to the teacher layers that it starts from, both from 1; {} for a random start."""


class LayeredStudent(ShapedStudent):
    """A student with a set of weights for each layer, each started from one of the teacher's."""

    map: LayerMap = "uniform"

    @model_validator(mode="after")
    def _one_map(self) -> LayeredStudent:
        refuse_two_maps(self.init, self.model_fields_set)
        return self

    def sources(self, teacher: PreTrainedModel, layers: int) -> Sources:
        """By the map. Raises InputError for one past either depth, or more layers than the teacher has."""
        return sources_of(self.init, self.map, layers, teacher)


def sources_of(init: Init, layer_map: LayerMap, layers: int, teacher: PreTrainedModel) -> Sources:
    """The layers that an initialisation takes; {} when it takes none."""
    return {} if isinstance(init, Random) else mapped(init, layer_map, layers, teacher)


def refuse_two_maps(init: Init, given: set[str]) -> None:
    """Raises ValueError when a map is given and the initialisation has its own."""
    if init.layers is not None and "map" in given:
        raise ValueError(f"init {init.registered_name} has a map of its own ({init.layers}); leave `map` out")


def refuse_wide_embedding(embedding: int, width: int) -> None:
    """Raises InputError for embedding tables that are wider than the layers."""
    if embedding > width:
        raise InputError(
            f"embedding: tables of width {embedding} are wider than the hidden size {width}; use at most {width}"
        )
