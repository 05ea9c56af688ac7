"""`depth`: whole layers out of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from pydantic import Field, model_validator

from compress.anatomy.base import structure_of
from compress.anatomy.blocks import stored_layers
from compress.core.errors import InputError
from compress.prune.base import PRUNERS, Change, Job, Pruner
from compress.prune.kept_layers import LayerPlan, keep_layers, stacks_of
from compress.prune.proof import prove
from compress.shapes.settle import settle

PROVEN_ON = 2


@PRUNERS.register("depth")
class Depth(Pruner):
    """Layers that count least, or all but those that are named. The result is a stock model, only shorter.

    With neither `ratio` nor `keep`, beside a `target` for heads or ffn, several depths are tried: of those that meet
    the target, the one whose masked model has the least loss on training texts is taken. ALBERT's layers are runs of
    the same weights: fewer runs are faster, and no smaller.
    """

    order: ClassVar[int] = 20
    reads: ClassVar[frozenset[str]] = frozenset({"layers"})
    paper: ClassVar[str] = "Men et al. 2024, arXiv 2403.03853; Sajjad et al. 2020, arXiv 2004.03844"

    ratio: float | None = Field(
        None, gt=0, lt=1, description="share of the layers that goes, in whole layers; null: see target"
    )
    keep: list[int] | None = Field(None, min_length=1, description="the layers that stay, from 1, in place of a ratio")

    @model_validator(mode="after")
    def _one_amount(self) -> Depth:
        if self.ratio is not None and self.keep is not None:
            raise ValueError("expected `ratio: 0.5` or `keep: [1, 2, 4]`, came both")
        if self.keep is not None and (self.keep != sorted(set(self.keep)) or self.keep[0] < 1):
            raise ValueError(
                f"keep: expected numbers of layers from 1, ascending, each once (layers stay in the order in which "
                f"they run), came {self.keep}"
            )
        return self

    def decided(self) -> bool:
        """Whether it says which layers go, or how many."""
        return self.ratio is not None or self.keep is not None

    def ranked_by(self) -> frozenset[str]:
        """Nothing where the layers are named."""
        return frozenset() if self.keep is not None else self.reads

    def cut(self, job: Job) -> Change:
        """Raises InputError when no layer would go or none would stay, and for numbers that are none of the layers."""
        depth = structure_of(job.model).depth(job.model)
        kept = self._kept(job)
        if kept == list(range(1, depth + 1)):
            raise InputError(f"depth: all {depth} layers stay, so nothing is pruned; ask for more to go")
        smaller = keep_layers(job.model, kept)
        proof = prove(job.model, smaller, LayerPlan(tuple(kept)), job.evidence.batches[:PROVEN_ON])
        return Change(settle(smaller), job.tokenizer, {"layers": {"before": depth, "kept": kept}, "proof": proof})

    def _kept(self, job: Job) -> list[int]:
        if self.keep is not None:
            return self.keep
        if self.ratio is None:
            raise InputError("depth: says not how much goes; give `ratio`, `keep` or a target")
        return best_layers(job, self.ratio)


def best_layers(job: Job, ratio: float) -> list[int]:
    """The layers that stay when this share goes, by their scores; an encoder and a decoder lose the same share each.

    Runs of one stored layer count the same, and the last of them go. A single layer stays beside a longer stack.
    Raises InputError where none would go or stay.
    """
    stacks = _ranked(job)
    if max(map(len, stacks)) == 1:
        raise InputError("depth: there is one layer, which must stay; nothing can go")
    return _kept_of(job, stacks, [_count_left(len(stack), ratio) if len(stack) > 1 else 1 for stack in stacks])


def shorter_depths(job: Job) -> Iterator[list[int]]:
    """The layers that stay, at one depth after the other: one less in the deepest stack each time.

    An encoder and a decoder lose the same share each, as near as whole layers come to it; one layer stays in both.
    """
    stacks = _ranked(job)
    most = max(map(len, stacks))
    for gone in range(1, most):
        left = [max(1, len(stack) - round(gone * len(stack) / most)) for stack in stacks]
        yield _kept_of(job, stacks, left)


def _ranked(job: Job) -> list[list[int]]:
    """The layers of each stack, from 1, the best first."""
    scores = job.importance.score(job.model, frozenset({"layers"}), job.evidence).layers
    assert scores is not None, "a criterion of layers gives scores of layers"
    layers = structure_of(job.model).layer_list(job.model)
    stored = stored_layers(layers)
    by_run = [float(scores[stored.index(layer)]) for layer in layers]
    return [sorted(stack, key=lambda number: (-by_run[number - 1], number)) for stack in stacks_of(job.model)]


def _kept_of(job: Job, stacks: Sequence[Sequence[int]], counts: Sequence[int]) -> list[int]:
    """The best layers of every stack that the family can run alone."""
    best = structure_of(job.model).best_layers
    return sorted(
        number for stack, count in zip(stacks, counts, strict=True) for number in best(job.model, stack, count)
    )


def _count_left(depth: int, ratio: float) -> int:
    """How many of a stack's layers stay."""
    count = depth - round(ratio * depth)
    if count in (0, depth):
        least = max(1, min(depth - 1, count))
        raise InputError(
            f"depth: a ratio of {ratio:g} of {depth} layers leaves {count}; nearest is to keep {least} "
            f"(a ratio of {1 - least / depth:.2f})"
        )
    return count
