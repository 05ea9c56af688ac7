"""Movement pruning (Sanh, Wolf, Rush 2020), of whole heads and neurons (Lagunas et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.distill.gates.base import GATES, KINDS, Gates, Gating, Kind, Part, by_block, parts_of
from compress.distill.gates.choose import highest
from compress.importance.counts import allowed
from compress.importance.movement import store_scores

BETAS = (0.9, 0.999)  # of Adam (Kingma and Ba 2015, arXiv 1412.6980)
EPSILON = 1e-12  # gates' gradients are small; one that is always 0 must stay so


@GATES.register("movement")
class Movement(Gates):
    """Heads and neurons whose weights move towards 0 while the student trains go, those that move away from it stay.

    What a part moves in an update is -dL/dgate, which is the sum of -dL/dW * W over the weights that read it, and its
    score the sum of this over the updates. `rule: adam` first divides it by its usual size, as the papers' experiments
    do: a student that starts near its teacher has gradients around 0, and the largest of them, up or down, are those of
    the parts that matter most. Only the order of scores counts, so that there is no learning rate to choose.

    After each update the gates of the highest scores are open, all of them up to `warmup`, then fewer along a cubic
    curve (Zhu and Gupta 2017, arXiv 1710.01878), and from `cooldown` before the end as many as asked for. A gate that
    is shut goes on being scored and may open again. Dev decides only between evaluations at the final number.

    In the saved student, a stock model, the shut parts' weights are 0; `prune: {by: movement}` with the same shares
    takes them out.
    """

    paper: ClassVar[str] = "Sanh, Wolf, Rush 2020, arXiv 2005.07683; Lagunas et al. 2021, arXiv 2109.04838"

    heads: float = Field(
        0.0, ge=0, lt=1, description="share of the attention heads that goes; every layer keeps one", examples=[0.5]
    )
    ffn: float = Field(0.0, ge=0, lt=1, description="share of the feed-forward neurons that goes", examples=[0.5])
    scope: Literal["layer", "global"] = Field(
        "layer", description="the same share of every layer, or the lowest scores of the whole model"
    )
    rule: Literal["adam", "sum"] = Field(
        "adam", description="adam: a gate's gradient counts in units of its usual size; sum: as it is"
    )
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the updates at the start in which all gates are open")
    cooldown: float = Field(
        0.3, gt=0, le=1, description="share of the updates at the end with the final number of gates"
    )
    multiple: int = Field(8, ge=1, description="features kept per layer are a multiple of this")

    @model_validator(mode="after")
    def _something_to_do(self) -> Movement:
        if not self.heads and not self.ffn:
            raise ValueError("expected a share of `heads`, of `ffn` or of both above 0; without one nothing would go")
        if self.warmup + self.cooldown > 1:
            raise ValueError(
                f"warmup and cooldown are shares of one training: {self.warmup:g} + {self.cooldown:g} is more than 1"
            )
        return self

    def build(self, student: PreTrainedModel) -> MovementGating:
        """Open gates with scores of 0. Raises InputError where these shares take nothing away."""
        shares: dict[Kind, float] = {"heads": self.heads, "ffn": self.ffn}
        parts = parts_of(student, [kind for kind, share in shares.items() if share])
        for kind, share in shares.items():
            own = [part for part in parts if part.kind == kind]
            if own and all(bool(each.all()) for each in self.chosen(kind, own, torch.zeros(_end(own)), 1 - share)):
                raise InputError(self._nothing_goes(kind, share, own[0]))
        return MovementGating(self, parts)

    def chosen(self, kind: Kind, parts: Sequence[Part], scores: Tensor, share: float) -> list[Tensor]:
        """The open gates, bool `[n]` each, of parts of one kind that keep this share; scores: of all gates."""
        sizes = [allowed(part.count, part.width, self.multiple) for part in parts]
        return highest([scores[part.at] for part in parts], sizes, share, self.scope == "global")

    def _nothing_goes(self, kind: Kind, share: float, part: Part) -> str:
        few = f"{part.count} {'head' if part.count == 1 else 'heads'}" if kind == "heads" else f"{part.count} neurons"
        least = allowed(part.count, part.width, self.multiple)[0]
        why = f"each keeps at least {least} of them" if least == part.count else "the nearest size is all of them"
        return (
            f"gates.movement.{kind}: {share:g} of layers with {few} takes nothing away ({why}; `multiple` is "
            f"{self.multiple}); give another share, or leave `{kind}` out"
        )

    def share_kept(self, kind: Kind, done: int, updates: int) -> float:
        """The share of open gates after `done` of `updates`: 1, down a cubic curve, 1 - the share that goes."""
        gone = self.heads if kind == "heads" else self.ffn
        start, end = self.warmup * updates, self.final_from(updates)
        if done < start:
            return 1.0
        left = 0.0 if done >= end else (end - done) / (end - start)
        return 1 - gone + gone * left**3

    def final_from(self, updates: int) -> int:
        """The update from which on the final number of gates is open."""
        return math.ceil(round((1 - self.cooldown) * updates, 6))


class MovementGating(Gating):
    """Gates by the sum of their gradients; `scores` `[n]`, larger counts more. `first`, `second`: Adam's moments."""

    scores: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, options: Movement, parts: Sequence[Part]) -> None:
        super().__init__(parts)
        self.options = options
        self.updates = 0
        self.register_buffer("scores", torch.zeros_like(self.gates))
        self.register_buffer("first", torch.zeros_like(self.gates))
        self.register_buffer("second", torch.zeros_like(self.gates))

    def begin(self, updates: int) -> None:
        """Raises InputError when no update is left for the final number of gates."""
        if self.options.final_from(updates) >= updates:
            raise InputError(
                f"gates.movement.cooldown: {self.options.cooldown:g} of a training of {updates} updates leaves none "
                "with the final number of gates, so that what is saved would never have been trained; train longer "
                "(epochs) or raise cooldown"
            )
        self.updates = updates

    def learn(self, gradient: Tensor, step: int) -> None:
        """A gate that the loss wants larger has a negative gradient, and its score grows."""
        if self.options.rule == "adam":
            one, two = BETAS
            self.first.lerp_(gradient, 1 - one)
            self.second.lerp_(gradient.square(), 1 - two)
            size = (self.second / (1 - two**step)).sqrt()
            gradient = self.first / (1 - one**step) / (size + EPSILON)
        self.scores.sub_(gradient)

    def choose(self, step: int) -> Tensor:
        """1 for the highest scores of each layer, or of all, in the number that the schedule gives."""
        scores = self.scores.cpu()  # once, not for every block: reading from a GPU waits for it
        gates = torch.zeros_like(scores)
        for kind in KINDS:
            own = [part for part in self.parts if part.kind == kind]
            if own:
                share = self.options.share_kept(kind, step, self.updates)
                for part, opened in zip(own, self.options.chosen(kind, own, scores, share), strict=True):
                    gates[part.at] = opened.to(gates)
        return gates

    def counts(self, step: int) -> bool:
        """Not before the final number of gates is reached: with more of them it is better, and not what was asked."""
        return step >= self.options.final_from(self.updates)

    def leave(self, folder: Path) -> None:
        """The scores and gates of every block, for `prune: {by: movement}`."""
        store_scores(folder, by_block(self.parts, self.scores), by_block(self.parts, self.gates))


def _end(parts: Sequence[Part]) -> int:
    return int(max(part.at.stop for part in parts))
