"""Heads and neurons: what the pruners `heads` and `ffn` share. Both are scored at once, chosen at once, cut at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.anatomy.blocks import AttentionBlock, FfnBlock
from compress.core.errors import InputError
from compress.importance.base import Scores
from compress.importance.masks import Masks
from compress.importance.refit import refit
from compress.importance.tune import tune
from compress.prune.allot import Unit, allot, allowed, nearest, refuse_too_few, step_of
from compress.prune.base import Change, Job, Pruner, Spread
from compress.prune.masked_cut import cut_masked, mask_slices
from compress.prune.proof import prove
from compress.prune.slicing import planned
from compress.shapes.settle import settle

Block = AttentionBlock | FfnBlock
PROVEN_ON = 2  # batches of the corpus, beside the random ones


class MaskPruner(Pruner):
    """Base of the two. kind: `heads` or `neurons`, the part of `Scores` that it chooses by."""

    order: ClassVar[int] = 40
    kind: ClassVar[str]

    ratio: float | None = Field(
        None, gt=0, lt=1, description="share that goes, over all layers; null: as `target` says"
    )
    ratios: list[float] | None = Field(
        None, min_length=1, description="share that goes of each layer, from the first; 0 leaves a layer as it is"
    )

    @model_validator(mode="after")
    def _one_amount(self) -> MaskPruner:
        if self.ratio is not None and self.ratios is not None:
            raise ValueError("expected `ratio:` or `ratios:`, came both")
        wrong = [share for share in self.ratios or () if not 0 <= share < 1]
        if wrong:
            raise ValueError(f"ratios: expected shares from 0 to less than 1, came {wrong[0]:g}")
        if self.ratios and not any(self.ratios):
            raise ValueError("ratios: all are 0, so nothing would go")
        return self

    def decided(self) -> bool:
        """Whether a ratio is given."""
        return self.ratio is not None or self.ratios is not None

    def cut(self, job: Job) -> Change:
        """Only this kind of part. Raises InputError as `cut_parts`."""
        return cut_parts(job, [self])

    def counts(self, units: Sequence[Unit], layers: Sequence[Sequence[int]], spread: Spread) -> list[int]:
        """How many of each unit stay. layers: those of each unit. Raises InputError where nothing would go."""
        shares = [1 - share for share in self.shares(layers)]
        if self.ratios is not None:
            for unit, share in zip(units, shares, strict=True):
                refuse_too_few(f"{self.registered_name}: ratios", [unit], share)
        if self.ratio is not None:
            refuse_too_few(self.registered_name, units, 1 - self.ratio)
        if self.ratio is not None and spread == "global":
            counts = _of_all(units, 1 - self.ratio)
        else:
            counts = [nearest(unit, share) for unit, share in zip(units, shares, strict=True)]
        if all(count == unit.counts[-1] for count, unit in zip(counts, units, strict=True)):
            some = units[0].counts
            if some == (1,):
                raise InputError(f"{self.registered_name}: every layer has one, which must stay; nothing can go")
            raise InputError(
                f"{self.registered_name}: nothing would go: of {some[-1]} {self.kind} a layer may keep "
                f"{', '.join(map(str, some[-4:]))}; {_more(units, spread)}set `multiple` lower"
            )
        return counts

    def shares(self, layers: Sequence[Sequence[int]]) -> list[float]:
        """The share that shall go of each unit. layers: those of each, several where they keep the same parts.

        Raises InputError where that is not said, or where layers that must keep the same are given different shares.
        """
        if self.ratios is not None:
            self._one_for_each_layer(max(number for numbers in layers for number in numbers))
            return [self._one_share(numbers) for numbers in layers]
        if self.ratio is None:
            raise InputError(f"{self.registered_name}: says not how much goes; give `ratio`, `ratios` or a target")
        return [self.ratio for _ in layers]

    def _one_for_each_layer(self, layers: int) -> None:
        ratios = self.ratios or []
        if len(ratios) != layers:
            raise InputError(
                f"{self.registered_name}: ratios: expected one for each of the model's {layers} layers, came "
                f"{len(ratios)} (layers that run the same weights count once)"
            )

    def _one_share(self, layers: Sequence[int]) -> float:
        """The share of all these layers."""
        found = {(self.ratios or [])[number - 1] for number in layers}
        if len(found) > 1:
            raise InputError(
                f"{self.registered_name}: ratios: layers {', '.join(map(str, layers))} share what is added to their "
                f"scores and keep the same {self.kind}; give them the same share, came "
                f"{', '.join(f'{share:g}' for share in sorted(found))}"
            )
        return found.pop()


def _more(units: Sequence[Unit], spread: Spread) -> str:
    """What to ask for so that something goes: the least that can."""
    able = [unit for unit in units if len(unit.counts) > 1]
    if not able:
        return ""
    steps = [(unit.counts[-1] - unit.counts[-2]) * len(unit.names) for unit in able]
    least = min(steps) if spread == "global" else sum(steps)
    total = sum(unit.counts[-1] * len(unit.names) for unit in units)
    return f"ask for more to go (nearest is a ratio of {least / total:.3g}), or "


def _of_all(units: Sequence[Unit], share: float) -> list[int]:
    """Counts that together keep a share of all parts, to the nearest that there is, wherever they matter most.

    Each part counts 1, once for every block that it is chosen for.
    """
    # Raised alike, so that every part is worth keeping: of parts below 0 more would go than was asked for.
    each = [unit.scores.double() / len(unit.names) for unit in units]
    low, high = min(float(one.min()) for one in each), max(float(one.max()) for one in each)
    raised = low - ((high - low) * 1e-3 or 1.0)
    plain = [
        replace(
            unit, scores=(one - raised) * len(unit.names), costs=tuple(float(c * len(unit.names)) for c in unit.counts)
        )
        for unit, one in zip(units, each, strict=True)
    ]
    wanted = share * sum(unit.costs[-1] for unit in plain)
    step = min(step_of(unit) * len(unit.names) for unit in plain)
    least = sum(unit.costs[0] for unit in plain)
    # Rounded, so that half of 12 heads in 12 layers is 72 and not 71 for a float's last digit.
    return allot(plain, max(least, round(wanted + step / 2, 6)), "global")


def blocks_of(model: PreTrainedModel) -> dict[str, Block]:
    """Every attention and every feed-forward, by name. Raises InputError for a family that cannot be pruned."""
    structure = structure_of(model)
    blocks: list[Block] = [*structure.attention_blocks(model), *structure.ffn_blocks(model)]
    return {block.name: block for block in blocks}


def units_of(model: PreTrainedModel, scores: Scores, kinds: Sequence[str], multiple: int) -> list[Unit]:
    """What can be chosen, heads before neurons, from the first layer on. Costs are parameters.

    Heads of blocks that share a table of relative positions are one unit, their scores added.
    """
    structure = structure_of(model)
    units = []
    if "heads" in kinds:
        groups: dict[str, list[AttentionBlock]] = {}
        for block in structure.attention_blocks(model):
            groups.setdefault(block.together or block.name, []).append(block)
        for group in groups.values():
            width = group[0].head_width
            units.append(_unit(model, "heads", group, scores.heads, allowed(group[0].heads, width, multiple)))
    if "neurons" in kinds:
        for feed in structure.ffn_blocks(model):
            counts = allowed(feed.neurons, 1, multiple)
            units.append(_unit(model, "neurons", [feed], scores.neurons, counts))
    return units


def _unit(
    model: PreTrainedModel, kind: str, group: Sequence[Block], scores: dict[str, Tensor], counts: tuple[int, ...]
) -> Unit:
    total = torch.stack([scores[block.name].detach().cpu().double() for block in group]).sum(0)
    each = _parameters_of_one(model, kind, group, len(total)) if len(total) > 1 else 0
    names = tuple(block.name for block in group)
    return Unit(kind, names, total, counts, tuple(float(each * count) for count in counts))


def _parameters_of_one(model: PreTrainedModel, kind: str, group: Sequence[Block], number: int) -> int:
    """Parameters that one head or neuron holds, in all blocks of the group."""
    mask = torch.ones(number)
    mask[0] = 0
    masks = {block.name: mask for block in group}
    slices = mask_slices(model, Masks(masks, {}) if kind == "heads" else Masks({}, masks))
    return planned(model, []) - planned(model, slices)


def masks_of(units: Sequence[Unit], counts: Sequence[int]) -> Masks:
    """0 and 1 for every block of the units: the best `counts` of each stay."""
    masks = Masks({}, {})
    for unit, count in zip(units, counts, strict=True):
        held = masks.heads if unit.kind == "heads" else masks.neurons
        held.update(dict.fromkeys(unit.names, unit.mask(count).float()))
    return masks


def scored_units(job: Job, kinds: Sequence[str]) -> list[Unit]:
    """What can be chosen, by the importance of heads and neurons, both scored at once."""
    units = units_of(job.model, job.importance.score(job.model, frozenset(kinds), job.evidence), kinds, job.multiple)
    return units if job.importance.one_unit else levelled(units)


def levelled(units: Sequence[Unit]) -> list[Unit]:
    """Scores scaled by kind, so that a parameter of a head counts as much as one of a neuron, on the average.

    The norm of a head's matrices cannot be held against that of a neuron's vectors: all of one kind would go first.
    """
    found = []
    for kind in dict.fromkeys(unit.kind for unit in units):
        own = [unit for unit in units if unit.kind == kind]
        total = sum(float(unit.scores.abs().sum()) for unit in own)
        scale = sum(unit.costs[-1] for unit in own) / total if total > 0 else 1.0
        found += [replace(unit, scores=unit.scores * scale) for unit in own]
    return found


def cut_parts(job: Job, pruners: Sequence[MaskPruner]) -> Change:
    """Heads and neurons by the ratios of these pruners: one scoring, one cut, one proof.

    Raises InputError when nothing would go or more than there is, and for a family that cannot be pruned.
    """
    kinds = [pruner.kind for pruner in pruners]
    units = scored_units(job, kinds)
    chosen = [pair for pruner in pruners for pair in amounts(job, units, pruner)]
    change = cut_chosen(job, [unit for unit, _ in chosen], [count for _, count in chosen])
    return replace(change, facts={**change.facts, **asked_and_got(job, pruners, chosen)})


def amounts(job: Job, units: Sequence[Unit], pruner: MaskPruner) -> list[tuple[Unit, int]]:
    """How many of each unit of its kind stay, as the pruner's ratios say."""
    own = [unit for unit in units if unit.kind == pruner.kind]
    return list(zip(own, pruner.counts(own, _layers(job, own), job.spread), strict=True))


def _layers(job: Job, units: Sequence[Unit]) -> list[list[int]]:
    """The layers of each unit: several where blocks keep the same heads."""
    layers = {name: block.layer for name, block in blocks_of(job.model).items()}
    return [sorted({layers[name] for name in unit.names}) for unit in units]


def asked_and_got(job: Job, pruners: Sequence[MaskPruner], chosen: Sequence[tuple[Unit, int]]) -> dict[str, Any]:
    """`{"amounts": {kind: {"asked": share, "got": share}}}` of the pruners that say how much goes: of all parts, or of
    each unit where `ratios` are given. Empty where a target says it."""
    found: dict[str, Any] = {}
    for pruner in (pruner for pruner in pruners if pruner.decided()):
        own = [pair for pair in chosen if pair[0].kind == pruner.kind]
        shares = pruner.shares(_layers(job, [unit for unit, _ in own]))
        if pruner.ratio is None:
            got: Any = [round(1 - count / len(unit.scores), 4) for unit, count in own]
            found[pruner.kind] = {"asked": shares, "got": got}
        else:
            total = sum(len(unit.scores) * len(unit.names) for unit, _ in own)
            left = sum(count * len(unit.names) for unit, count in own)
            found[pruner.kind] = {"asked": pruner.ratio, "got": round(1 - left / total, 4)}
    return {"amounts": found} if found else {}


def cut_chosen(job: Job, units: Sequence[Unit], counts: Sequence[int]) -> Change:
    """The model with the best `counts` of each unit, tuned where the job asks for it, proven and settled."""
    masks = job.importance.refine(job.model, masks_of(units, counts), job.evidence)
    whole, tuned = job.model, dict[str, Any]()
    if job.tune == "masks":
        masks, tuned = tune(whole, masks, job.evidence)
    elif job.tune == "outputs":
        whole, tuned = refit(whole, masks, job.evidence)
    smaller = cut_masked(whole, masks)
    proof = prove(whole, smaller, masks, job.evidence.batches[:PROVEN_ON])
    facts = {**kept(job.model, smaller), "proof": proof, **({"tuned": {"by": job.tune, **tuned}} if tuned else {})}
    return Change(settle(smaller), job.tokenizer, facts)


def kept(before: PreTrainedModel, after: PreTrainedModel) -> dict[str, Any]:
    """Heads and neurons by block, from the first layer on, before and after."""
    found: dict[str, Any] = {}
    for name, model in (("before", before), ("after", after)):
        structure = structure_of(model)
        found.setdefault("heads", {})[name] = [block.heads for block in structure.attention_blocks(model)]
        found.setdefault("neurons", {})[name] = [block.neurons for block in structure.ffn_blocks(model)]
    return found
