"""Meeting a target: counts of heads and neurons, and of layers where `depth` leaves that open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.core.errors import InputError, JobError
from compress.core.reporter import Reporter
from compress.importance.base import Evidence
from compress.importance.masks import Masks, masked
from compress.importance.running import examined, run
from compress.prune.allot import Unit
from compress.prune.base import Change, Job
from compress.prune.depth import Depth, shorter_depths
from compress.prune.kept_layers import keep_layers
from compress.prune.latency import Timer
from compress.prune.masking import MaskPruner, amounts, asked_and_got, cut_chosen, kept, masks_of, scored_units
from compress.prune.search import MetAlreadyError, OutOfReachError, Reached, TimeSearch, parameter_counts
from compress.prune.slicing import planned
from compress.prune.target import Target

PATIENCE = 2  # depths in a row that are worse than the best


@dataclass(frozen=True)
class _Depth:
    """A depth that was tried: the layers that stay, the job of the model that has only these, what it may choose."""

    loss: float
    kept: list[int]
    job: Job
    units: list[Unit]


@dataclass
class Reach:
    """A target and what it is measured with. reference: parameters that shares are of. named: what the step prunes."""

    target: Target
    reference: int
    timer: Timer | None
    reporter: Reporter
    named: frozenset[str] = frozenset()

    def cut(self, job: Job, pruners: Sequence[MaskPruner], layers: Job | None) -> Change:
        """The model that meets the target. layers: the job by whose criterion layers go, None when they all stay.

        Raises InputError, naming the nearest, for a target that cannot be met or is met already.
        """
        with self.reporter.progress(f"score {' and '.join(pruner.registered_name for pruner in pruners)}", None):
            units = units_for(job, pruners)
        search = None
        if self.target.timed:
            assert self.timer is not None
            search = TimeSearch(job, units, self.target, self.timer, self.reporter, deep=layers is not None)
        try:
            if layers is None:
                return self._at(job, pruners, units, search)
            return self._with_depth(job, pruners, layers, units, search)
        except OutOfReachError as error:
            raise OutOfReachError(f"{error}: {self._advice()}") from None
        except MetAlreadyError as error:
            before = self.named & ({"vocab", "width"} if layers is not None else {"vocab", "depth", "width"})
            raise MetAlreadyError(f"{error}{_enough(sorted(before), pruners)}") from None

    def _advice(self) -> str:
        """What else could go, of what the step does not name yet."""
        others = [name for name in (("depth", "width") if self.target.timed else ("vocab", "depth", "width"))
                  if name not in self.named]  # fmt: skip
        if not others:
            return "ask for less, or take another engine" if self.target.timed else "ask for less"
        listed = " or ".join(filter(None, (", ".join(f"`{name}`" for name in others[:-1]), f"`{others[-1]}`")))
        return f"add {listed} to `what`" + (", or take another engine" if self.target.timed else "")

    def _with_depth(
        self, job: Job, pruners: Sequence[MaskPruner], layers: Job, units: list[Unit], search: TimeSearch | None
    ) -> Change:
        best, tried = self._depth(job, pruners, layers, units, search)
        if len(best.kept) == structure_of(job.model).depth(job.model):
            change = self._at(job, pruners, units, search)
            return replace(change, facts={"depths": tried, **change.facts})
        cut = Depth(keep=best.kept).cut(layers)
        change = self._at(replace(best.job, model=cut.model), pruners, best.units, search, shorter=True)
        facts = {"layers": cut.facts["layers"], "depths": tried, "proof_of_depth": cut.facts["proof"]}
        return replace(change, facts={**facts, **change.facts})

    def _at(
        self, job: Job, pruners: Sequence[MaskPruner], units: list[Unit], search: TimeSearch | None,
        shorter: bool = False,
    ) -> Change:  # fmt: skip
        """Meet the target with the layers that there are. shorter: others went, and these may be enough."""
        if search is not None:
            reached: Reached = search.of(job, units).counts()
        else:
            reached = parameter_counts(job.model, units, self.target, self.reference, job.spread, shorter)
        with self.reporter.progress("cut and prove", None):
            if shorter and all(count == len(unit.scores) for unit, count in zip(units, reached.counts, strict=True)):
                change = Change(job.model, job.tokenizer, kept(job.model, job.model))
            else:
                change = cut_chosen(job, units, reached.counts)
        got = planned(change.model, [])
        if "planned" in reached.facts and got != reached.facts["planned"]:
            raise JobError(f"target: {reached.facts['planned']} parameters were planned, and the result has {got}")
        said = asked_and_got(job, pruners, list(zip(units, reached.counts, strict=True)))
        return replace(change, facts={**change.facts, **said, "target": reached.facts})

    def _depth(
        self, job: Job, pruners: Sequence[MaskPruner], layers: Job, units: list[Unit], search: TimeSearch | None
    ) -> tuple[_Depth, list[dict[str, Any]]]:
        """The depth whose masked model has the least loss, and the losses of those that were tried.

        Fewer layers are tried until two in a row are worse than the best, or the layers that went are enough: fewer
        still lose more than is asked. Raises InputError without labelled texts.
        """
        if job.evidence.loss is None or not job.evidence.batches:
            raise InputError(
                "depth: how many layers go is chosen by the task's loss on labelled texts, and there is none; give "
                "`depth` a ratio, or a model with a trained head"
            )
        whole = list(range(1, structure_of(job.model).depth(job.model) + 1))
        best: _Depth | None = None
        worse, tried = 0, list[dict[str, Any]]()
        refusal: OutOfReachError | None = None
        for kept_ones in (whole, *shorter_depths(layers)):
            shorter, own = job, units
            if kept_ones != whole:
                shorter = replace(job, model=keep_layers(job.model, kept_ones))
                own = units_for(shorter, pruners)
            try:
                counts = self._first_choice(shorter, own, search)
            except OutOfReachError as error:
                refusal = error
                continue
            if counts is None and kept_ones == whole:
                return _Depth(0.0, whole, job, units), []  # a ratio beside the target is enough, or it is met already
            chosen = [unit.counts[-1] for unit in own] if counts is None else counts
            loss = loss_under(shorter.model, masks_of(own, chosen), job.evidence)
            self.reporter.note(f"target: with {len(kept_ones)} layers the masked model's loss is {loss:.4g}")
            tried.append({"layers": len(kept_ones), "loss": float(f"{loss:.5g}")})
            if best is None or loss < best.loss:
                best, worse = _Depth(loss, kept_ones, shorter, own), 0
            else:
                worse += 1
            if worse == PATIENCE or counts is None:
                break
        if best is None:
            assert refusal is not None, "a depth that is not tried is out of reach"
            raise refusal
        return best, tried

    def _first_choice(self, job: Job, units: list[Unit], search: TimeSearch | None) -> list[int] | None:
        """Counts before any correction; None when all may stay. Raises OutOfReachError."""
        if search is not None:
            return search.of(job, units).first()
        if planned(job.model, []) - sum(unit.gone for unit in units) <= self.target.parameters_of(self.reference):
            return None
        return parameter_counts(job.model, units, self.target, self.reference, job.spread).counts


def _enough(before: Sequence[str], pruners: Sequence[MaskPruner]) -> str:
    """What to do where other parts, which went before, are enough."""
    if not before:
        return ""
    parts = " and ".join(f"`{pruner.registered_name}`" for pruner in pruners)
    return f" of heads and neurons: {' and '.join(before)} did it; leave {parts} and `target` out, or ask for more"


def units_for(job: Job, pruners: Sequence[MaskPruner]) -> list[Unit]:
    """What can be chosen; of a pruner with a ratio the one count that it says."""
    units = scored_units(job, [pruner.kind for pruner in pruners])
    settled = {
        unit.names: count for pruner in pruners if pruner.decided() for unit, count in amounts(job, units, pruner)
    }
    return [_only(unit, settled[unit.names]) if unit.names in settled else unit for unit in units]


def _only(unit: Unit, count: int) -> Unit:
    """The unit with a count that is settled."""
    cost = unit.costs[unit.counts.index(count)]
    return replace(unit, counts=(count,), costs=(cost,), gone=unit.costs[-1] - cost)


def loss_under(model: PreTrainedModel, masks: Masks, evidence: Evidence) -> float:
    """The task's loss of the masked model, mean over the rows of the texts."""
    assert evidence.loss is not None
    total = rows = 0.0
    with torch.no_grad(), examined(model), masked(model, masks):
        for batch in evidence.batches:
            count = len(batch["input_ids"])
            total += float(evidence.loss(run(model, batch), batch)) * count
            rows += count
    return total / rows
