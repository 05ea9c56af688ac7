"""`depth`: whole layers out of a model."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_validator
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.anatomy.blocks import stored_layers
from compress.core.errors import InputError
from compress.prune.base import PRUNERS, Change, Job, Pruner
from compress.prune.kept_layers import LayerPlan, keep_layers
from compress.prune.proof import prove
from compress.shapes.settle import settle

PROVEN_ON = 2


@PRUNERS.register("depth")
class Depth(Pruner):
    """Layers that count least, or all but those that are named. The result is a stock model, only shorter.

    ALBERT's layers are runs of the same weights: fewer runs are faster, and no smaller.
    """

    order: ClassVar[int] = 20
    reads: ClassVar[frozenset[str]] = frozenset({"layers"})
    paper: ClassVar[str] = "Men et al. 2024, arXiv 2403.03853; Sajjad et al. 2020, arXiv 2004.03844"

    ratio: float | None = Field(None, gt=0, lt=1, description="share of the layers that goes, rounded to whole layers")
    keep: list[int] | None = Field(None, min_length=1, description="the layers that stay, from 1, in place of a ratio")

    @model_validator(mode="after")
    def _one_amount(self) -> Depth:
        if (self.ratio is None) == (self.keep is None):
            came = "neither" if self.ratio is None else "both"
            raise ValueError(f"expected `ratio: 0.5` or `keep: [1, 2, 4]`, came {came}")
        return self

    def cut(self, job: Job) -> Change:
        """Raises InputError when no layer would go or none would stay, and for numbers that are none of the layers."""
        depth = structure_of(job.model).depth(job.model)
        kept = self.keep if self.keep is not None else self._best(job, depth)
        if len(kept) == depth and sorted(kept) == list(range(1, depth + 1)):
            raise InputError(f"depth: all {depth} layers stay, so nothing is pruned; ask for more to go")
        smaller = keep_layers(job.model, kept)
        batches = job.evidence.batches[:PROVEN_ON]
        facts: dict[str, Any] = {"layers": {"before": depth, "kept": kept}}
        if ties(job.model, kept):
            facts["proof"] = "the weights of runs that stay are those of the runs that go; only their number changed"
        else:
            facts["proof"] = prove(job.model, smaller, LayerPlan(tuple(kept)), batches)
        return Change(settle(smaller), job.tokenizer, facts)

    def _best(self, job: Job, depth: int) -> list[int]:
        """The layers that stay, by their scores; runs of one stored layer count the same, and the last of them go."""
        assert self.ratio is not None
        count = max(depth - max(round(self.ratio * depth), 0), 0)
        if count in (0, depth):
            raise InputError(
                f"depth: a ratio of {self.ratio:g} of {depth} layers leaves {count}; nearest is "
                f"{max(1, min(depth - 1, count))} ({1 - max(1, min(depth - 1, count)) / depth:.2f})"
            )
        scores = job.importance.score(job.model, frozenset({"layers"}), job.evidence).layers
        assert scores is not None, "a criterion of layers gives scores of layers"
        layers = structure_of(job.model).layer_list(job.model)
        stored = stored_layers(layers)
        by_run = [float(scores[stored.index(layer)]) for layer in layers]
        return sorted(sorted(range(1, depth + 1), key=lambda number: (-by_run[number - 1], number))[:count])


def ties(model: PreTrainedModel, kept: list[int]) -> bool:
    """Whether every layer that goes also runs at a place that stays, so that no parameter goes."""
    layers = structure_of(model).layer_list(model)
    left = {id(layers[number - 1]) for number in kept if 1 <= number <= len(layers)}
    return all(id(layer) in left for layer in layers)
