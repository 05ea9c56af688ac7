"""Meeting a target: counts of heads and neurons, and of layers where `depth` leaves that open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
from compress.prune.depth import Depth, best_layers
from compress.prune.kept_layers import keep_layers
from compress.prune.latency import Timer
from compress.prune.masking import MaskPruner, amounts, cut_chosen, masks_of, scored_units
from compress.prune.search import OutOfReachError, Reached, TimeSearch, parameter_counts
from compress.prune.slicing import planned
from compress.prune.target import Target

PATIENCE = 2  # depths in a row that are worse than the best


@dataclass
class Reach:
    """A target and what it is measured with. reference: parameters that shares are of."""

    target: Target
    reference: int
    timer: Timer | None
    reporter: Reporter

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
        if layers is None:
            return self._at(job, units, search)
        kept, shorter, units = self._depth(job, pruners, layers, units, search)
        if len(kept) == structure_of(job.model).depth(job.model):
            return self._at(job, units, search)
        cut = Depth(keep=kept).cut(layers)
        change = self._at(replace(shorter, model=cut.model), units, search)
        return replace(
            change, facts={"layers": cut.facts["layers"], "proof_of_depth": cut.facts["proof"], **change.facts}
        )

    def _at(self, job: Job, units: list[Unit], search: TimeSearch | None) -> Change:
        """Meet the target with the layers that there are."""
        if search is not None:
            reached: Reached = search.of(job, units).counts()
        else:
            reached = parameter_counts(job.model, units, self.target, self.reference, job.spread)
        with self.reporter.progress("cut and prove", None):
            change = cut_chosen(job, units, reached.counts)
        got = planned(change.model, [])
        if "planned" in reached.facts and got != reached.facts["planned"]:
            raise JobError(f"target: {reached.facts['planned']} parameters were planned, and the result has {got}")
        return replace(change, facts={**change.facts, "target": reached.facts})

    def _depth(
        self, job: Job, pruners: Sequence[MaskPruner], layers: Job, units: list[Unit], search: TimeSearch | None
    ) -> tuple[list[int], Job, list[Unit]]:
        """The layers that stay, and what can be chosen of them: the depth whose masked model has the least loss.

        Fewer layers are tried until two in a row are worse than the best, or nothing else would have to go. Raises
        InputError without labelled texts.
        """
        if job.evidence.loss is None or not job.evidence.batches:
            raise InputError(
                "depth: how many layers go is chosen by the task's loss on labelled texts, and there is none; give "
                "`depth` a ratio, or a model with a trained head"
            )
        depth = structure_of(job.model).depth(job.model)
        best: tuple[float, list[int], Job, list[Unit]] | None = None
        worse = 0
        refusal: OutOfReachError | None = None
        for count in range(depth, 0, -1):
            kept, shorter, own = list(range(1, depth + 1)), job, units
            if count < depth:
                kept = best_layers(layers, (depth - count) / depth)
                shorter = replace(job, model=keep_layers(job.model, kept))
                own = units_for(shorter, pruners)
            try:
                counts = self._first_choice(shorter, own, search)
            except OutOfReachError as error:
                refusal = error
                continue
            if counts is None:  # nothing but layers would have to go: fewer of them lose more than is asked
                break
            loss = loss_under(shorter.model, masks_of(own, counts), job.evidence)
            self.reporter.note(f"target: with {count} layers the masked model's loss is {loss:.4g}")
            if best is None or loss < best[0]:
                best, worse = (loss, kept, shorter, own), 0
            else:
                worse += 1
            if worse == PATIENCE:
                break
        if best is None and refusal is not None:
            raise refusal
        return best[1:] if best is not None else (list(range(1, depth + 1)), job, units)

    def _first_choice(self, job: Job, units: list[Unit], search: TimeSearch | None) -> list[int] | None:
        """Counts before any correction; None when all may stay. Raises OutOfReachError."""
        if search is not None:
            return search.of(job, units).first()
        if planned(job.model, []) <= self.target.parameters_of(self.reference):
            return None
        return parameter_counts(job.model, units, self.target, self.reference, job.spread).counts


def units_for(job: Job, pruners: Sequence[MaskPruner]) -> list[Unit]:
    """What can be chosen; of a pruner with a ratio the one count that it says."""
    units = scored_units(job, [pruner.kind for pruner in pruners])
    settled = {
        unit.names: count for pruner in pruners if pruner.decided() for unit, count in amounts(job, units, pruner)
    }
    return [_only(unit, settled[unit.names]) if unit.names in settled else unit for unit in units]


def _only(unit: Unit, count: int) -> Unit:
    """The unit with a count that is settled."""
    return replace(unit, counts=(count,), costs=(unit.costs[unit.counts.index(count)],))


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
