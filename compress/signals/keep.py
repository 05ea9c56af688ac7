"""What of a teacher is stored, as a recipe says it and as a store holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from compress.anatomy.capture import Wanted
from compress.core.errors import InputError
from compress.core.options import Options

Dtype = Literal["fp16", "bf16", "fp32"]
Layer = Annotated[int, Field(ge=0)]
Layers = list[Layer] | Literal["all", "last"]
PARTS = ("hidden", "attention", "values")


class Keep(Options):
    """What is kept: outputs, and layers of states by number (`[3, 6]`, `last` or `all`)."""

    logits: bool = Field(True, description="the task head's outputs")
    top: int | None = Field(
        None, ge=1, description="only the so many largest outputs and the mass of the rest, for vocabularies"
    )
    hidden: Layers = Field([], description="layers whose hidden states are kept, 0 for the embedding output")
    attention: Layers = Field([], description="layers whose queries and keys are kept; losses make scores of them")
    values: Layers = Field([], description="layers whose values are kept, for relations of values")
    embedding: bool = Field(False, description="one vector for each text, pooled as the task pools it")

    def of(self, depth: int, dtype: Dtype) -> Kept:
        """The same with layer numbers of a teacher of so many layers. Raises InputError for a layer that it lacks."""
        if self.top is not None and not self.logits:
            raise InputError("keep: `top` chooses among the logits, and `logits` is false; set it to true")
        layers = {part: self._layers(part, depth) for part in PARTS}
        if not (self.logits or self.embedding or any(layers.values())):
            raise InputError("keep: nothing is kept; name logits, hidden, attention, values or embedding")
        return Kept(Wanted(logits=self.logits, embedding=self.embedding, **layers), self.top, dtype)

    def _layers(self, part: str, depth: int) -> frozenset[int]:
        given = getattr(self, part)
        least = 0 if part == "hidden" else 1
        if isinstance(given, str):
            return frozenset(range(least, depth + 1) if given == "all" else (depth,))
        wrong = [layer for layer in given if not least <= layer <= depth]
        if wrong:
            raise InputError(f"keep.{part}: the teacher has no layer {wrong[0]} there; it has {least} to {depth}")
        return frozenset(given)


@dataclass(frozen=True)
class Kept:
    """What a store holds. top: so many of the largest logits, None for all of them. dtype: of hidden states, queries,
    keys and values; logits and embeddings are float32 always, they cost little and losses are steep in them.
    """

    wanted: Wanted
    top: int | None = None
    dtype: Dtype = "fp16"

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, for a manifest."""
        layers = {part: sorted(getattr(self.wanted, part)) for part in PARTS}
        outputs = {"logits": self.wanted.logits, "embedding": self.wanted.embedding}
        return {**outputs, **layers, "top": self.top, "dtype": self.dtype}

    @classmethod
    def from_json(cls, held: dict[str, Any]) -> Kept:
        """What `as_json` gave."""
        layers = {part: frozenset(held[part]) for part in PARTS}
        return cls(Wanted(logits=held["logits"], embedding=held["embedding"], **layers), held["top"], held["dtype"])

    def refuse_more(self, wanted: Wanted, name: str) -> None:
        """Raises InputError when a loss wants what is not kept, with what to label."""
        for part in PARTS:
            mine, asked = getattr(self.wanted, part), getattr(wanted, part)
            if not asked <= mine:
                have = ", ".join(map(str, sorted(mine))) or "none"
                lacking = ", ".join(map(str, sorted(asked - mine)))
                raise InputError(
                    f"{name} hold {part} {have}; a loss wants {lacking}: label again with "
                    f"keep: {{{part}: {sorted(mine | asked)}}}, or change the loss's map"
                )
        for part in ("logits", "embedding"):
            if getattr(wanted, part) and not getattr(self.wanted, part):
                raise InputError(f"{name} hold no {part}, and a loss wants it: label again with keep: {{{part}: true}}")

    def text(self) -> str:
        """`logits, hidden 3 6`, for people."""
        found = [part for part in ("logits", "embedding") if getattr(self.wanted, part)]
        if self.top is not None:
            found[0] = f"top {self.top} logits"
        for part in PARTS:
            layers = sorted(getattr(self.wanted, part))
            found += [f"{part} {' '.join(map(str, layers))}"] if layers else []
        return ", ".join(found)
