"""What an initialisation is: a narrowing of the teacher's spaces, or nothing for a random start."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.core.layer_maps import LayerMap
from compress.core.options import Options
from compress.core.registry import Catalogue
from compress.students.base import Given
from compress.students.narrowing import Narrowing
from compress.students.shape import Shape


class Init(Options):
    """Base of every initialisation.

    whole: copies layers as they are, so that a student of the teacher's own family may take all that is in them.
    layers: the map that this initialisation insists on; None takes the student's `map`.
    """

    whole: ClassVar[bool] = False
    layers: ClassVar[LayerMap | None] = None

    @abstractmethod
    def narrowing(self, teacher: PreTrainedModel, from_shape: Shape, to_shape: Shape, given: Given) -> Narrowing | None:
        """How the teacher's spaces become the student's; None when nothing is inherited.

        Raises InputError when the shapes do not allow it.
        """


INITS: Catalogue[Init] = Catalogue("init", "inits", ("compress.students.inits",))


def refuse_wider(from_shape: Shape, to_shape: Shape) -> None:
    """Raises InputError when a student that should take part of each matrix is larger than its teacher."""
    for what in ("width", "ffn", "heads"):
        theirs, mine = getattr(from_shape, what), getattr(to_shape, what)
        if mine > theirs:
            raise InputError(
                f"{what}: {mine} is more than the teacher's {theirs}, so there is nothing to cut it from; "
                f"use `init: random` or at most {theirs}"
            )


def refuse_wider_heads(from_shape: Shape, to_shape: Shape, name: str) -> None:
    """Raises InputError when a student's heads are wider than its teacher's."""
    if to_shape.head_width > from_shape.head_width:
        fitting = to_shape.width // from_shape.head_width
        raise InputError(
            f"heads: {to_shape.heads} heads on a width of {to_shape.width} are {to_shape.head_width} wide, the "
            f"teacher's only {from_shape.head_width}, and {name} cannot widen a head; use at least {fitting} heads"
        )
