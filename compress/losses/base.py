"""What a loss is: `loss(student, teacher) -> scalar`, with the captures that it needs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import fields, replace
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor

from compress.core.errors import InputError
from compress.core.layer_maps import SOFT_MAPS
from compress.core.options import Options
from compress.core.registry import Catalogue
from compress.core.trace import Trace


class Loss(Options):
    """Base of every term. A loss knows no model, tokenizer or device; masked positions never count.

    needs_teacher, needs_labels: whether the second trace, or labels in the first, must be there.
    skips_unlabelled: whether a loss on labels leaves out rows without one (-100, NaN), so that both kinds may be mixed.
    projects: whether hidden states and embeddings of unequal width are projected for it before it is called.
    least_rows: the fewest texts in a batch that the term is defined for.
    soft_maps: whether its `map` may weigh all teacher layers (`attention`, `transport`). Its `pairs` then gives every
    pair, so that all layers are captured, and `map_weights` tells the weights that two traces get.
    outputs: the kinds of a task's outputs (`Task.output`) that it is for; empty for any.
    of_pairs: what the rows must be whose embeddings it compares pair by pair, `Task.pairs`; empty for all others.
    takes_largest: whether the teacher's largest logits and the mass of the rest are enough for it.
    """

    needs_teacher: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    skips_unlabelled: ClassVar[bool] = False
    takes_largest: ClassVar[bool] = False
    outputs: ClassVar[frozenset[str]] = frozenset()
    of_pairs: ClassVar[Literal["", "scores", "positives"]] = ""
    paper: ClassVar[str] = ""
    projects: ClassVar[bool] = False
    least_rows: ClassVar[int] = 1
    soft_maps: ClassVar[bool] = False

    weight: float = Field(1.0, gt=0, description="factor of this term in the objective")

    @property
    def needs(self) -> frozenset[str]:
        """What must be captured: `logits`, `hidden`, `attention` (queries and keys), `values`, `embedding`, `groups`.

        A loss whose options do not change it declares `needs: ClassVar[frozenset[str]] = frozenset({...})`.
        """
        return frozenset()

    @abstractmethod
    def __call__(self, student: Trace, teacher: Trace | None) -> Tensor:
        """The unweighted term, a scalar that does not grow with batch size or length."""

    def pairs(self, student_depth: int, teacher_depth: int) -> list[tuple[int, int]]:
        """(student layer, teacher layer) pairs that the term compares; none for a term on outputs."""
        return []

    @property
    def soft_map(self) -> bool:
        """Whether its map weighs all teacher layers."""
        return getattr(self, "map", None) in SOFT_MAPS

    def map_weights(self, student: Trace, teacher: Trace) -> Tensor | None:
        """Weights `[n, m]` of a soft map on these traces, each row summing to 1; None for a map of chosen pairs."""
        return None

    @model_validator(mode="after")
    def _takes_its_map(self) -> Loss:
        if self.soft_map and not self.soft_maps:
            raise ValueError(
                f"map: {getattr(self, 'map', '')} weighs all teacher layers, and {self.registered_name} compares "
                f"chosen pairs only; use uniform, last, first or explicit pairs"
            )
        return self


DISTRIBUTIONS = frozenset({"classes", "span", "vocabulary"})  # outputs that a softmax turns into one
LOSSES: Catalogue[Loss] = Catalogue("loss", "losses", ("compress.losses",))


def required(trace: Trace | None, who: str) -> Trace:
    """The trace, cut off from gradients; InputError when it was not given."""
    if trace is None:
        raise InputError(f"this loss compares with a {who}, and none was given")
    return replace(trace, **{field.name: _cut(getattr(trace, field.name)) for field in fields(trace)})


def _cut(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    return {layer: held.detach() for layer, held in value.items()} if isinstance(value, dict) else value
