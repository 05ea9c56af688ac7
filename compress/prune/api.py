"""Pruning as one function: `prune_model(model, tokenizer, [Heads(ratio=0.5), Ffn(ratio=0.5)], Magnitude())`.

Pruners act in a fixed order, from coarse to fine: `vocab`, `depth`, `width`, then `heads` and `ffn` together (one
scoring, one choice, one cut), then `weights`. What comes later is scored on what the earlier ones left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from transformers import PreTrainedModel

from compress.core.errors import InputError, JobError
from compress.core.reporter import Reporter
from compress.importance.base import IMPORTANCES, Evidence, Importance
from compress.prune.allot import Unit
from compress.prune.base import Change, Job, Pruner, Spread
from compress.prune.latency import Timer
from compress.prune.masking import MaskPruner, amounts, cut_chosen, cut_parts, scored_units
from compress.prune.search import Reached, TimeSearch, to_parameters
from compress.prune.slicing import planned
from compress.prune.target import Target

LAYERS_BY = "similarity"
EvidenceOf = Callable[[Any], Evidence]  # of a tokenizer: `vocab` changes the one that texts are read with


@dataclass
class Pruned:
    """A smaller model, proven, settled, with the tokenizer that belongs to it. facts: what was done, for the manifest."""

    model: PreTrainedModel
    tokenizer: Any
    facts: dict[str, Any] = field(default_factory=dict)


def prune_model(
    model: PreTrainedModel,
    tokenizer: Any,
    what: Sequence[Pruner],
    by: Importance,
    *,
    evidence: Evidence | EvidenceOf = Evidence(),  # noqa: B008 - frozen and empty
    texts: Callable[[], Iterable[Sequence[str]]] = tuple,
    spread: Spread = "global",
    multiple: int = 8,
    tune: bool = False,
    target: Target | None = None,
    reference: int | None = None,
    timer: Timer | None = None,
    reporter: Reporter | None = None,
) -> Pruned:
    """Take parts out of a model (float32, on the CPU); `model` itself stays as it is.

    evidence: what the criterion looks at, or a function that makes it for a tokenizer. texts: the fields of every
    training row. spread: `global` lets layers keep different numbers, `uniform` does not. target: how much of heads and
    neurons goes, where their pruners say nothing; reference: parameters that its shares are of, default the model's;
    timer: times models for a latency or a speed-up.
    Raises InputError for what cannot be asked, JobError when a proof fails.
    """
    faults = check(what, by, tune, target)
    if faults:
        raise InputError("; ".join(faults))
    if target is not None and target.timed and timer is None:
        raise InputError(f"target: {target.aim} needs a `timer`, which times models on this machine")
    before = planned(model, [])
    seen = evidence if callable(evidence) else _same(evidence)
    job = Job(model.eval(), tokenizer, by, seen(tokenizer), texts, multiple, spread, tune)
    facts: dict[str, Any] = {}
    for group in acting(what):
        job = replace(job, importance=_chooser(group, by))
        change = _cut(job, group, target, reference or before, timer, reporter or Reporter())
        if change.tokenizer is not job.tokenizer:
            job = replace(job, evidence=seen(change.tokenizer))
        job = replace(job, model=change.model.eval(), tokenizer=change.tokenizer)
        facts["+".join(pruner.registered_name for pruner in group)] = change.facts
    facts["parameters"] = {"before": before, "after": planned(job.model, [])}
    return Pruned(job.model, job.tokenizer, facts)


def check(what: Sequence[Pruner], by: Importance, tune: bool, target: Target | None) -> list[str]:
    """What cannot be asked, as far as the options alone tell."""
    names = [pruner.registered_name for pruner in what]
    faults = [f"what: {name} stands twice; give it one amount" for name in sorted(set(names)) if names.count(name) > 1]
    open_ones = [pruner.registered_name for pruner in what if not pruner.decided()]
    if target is None and open_ones:
        faults.append(
            f"what: {' and '.join(open_ones)}: how much goes? give `ratio` or `ratios`, or a `target` for the whole"
        )
    if target is not None and not open_ones:
        faults.append(
            "target: nothing is left for it to decide; have `heads: {}` or `ffn: {}` without a ratio in `what`"
        )
    if target is not None and "weights" in names:
        faults.append("target: zeros among the weights save neither parameters nor time; prune `weights` in a step after")
    if tune and not any(isinstance(pruner, MaskPruner) for pruner in what):
        faults.append("tune: tunes the masks of heads and neurons, and `what` has neither; leave it out")
    for pruner in what:
        lacking = pruner.reads - by.parts
        if lacking and pruner.reads != frozenset({"layers"}):
            able = [name for name in IMPORTANCES.names() if pruner.reads <= IMPORTANCES.get(name).parts]
            faults.append(
                f"by: {by.registered_name} cannot score {', '.join(sorted(lacking))}, which {pruner.registered_name} "
                f"chooses by; take {', '.join(able)}"
            )
    return faults


def acting(what: Sequence[Pruner]) -> list[list[Pruner]]:
    """The pruners in the order in which they act; those of heads and neurons act as one."""
    masked = [pruner for pruner in what if isinstance(pruner, MaskPruner)]
    masked.sort(key=lambda pruner: pruner.kind)
    others = [[pruner] for pruner in what if not isinstance(pruner, MaskPruner)]
    return sorted([*others, *([list[Pruner](masked)] if masked else [])], key=lambda group: group[0].order)


def _same(evidence: Evidence) -> EvidenceOf:
    return lambda tokenizer: evidence


def _chooser(group: Sequence[Pruner], by: Importance) -> Importance:
    """The recipe's criterion; for layers the one made for them, where it has nothing to say of layers."""
    if "layers" in group[0].reads and "layers" not in by.parts:
        return IMPORTANCES.get(LAYERS_BY)()
    return by


def _cut(
    job: Job, group: Sequence[Pruner], target: Target | None, reference: int, timer: Timer | None, reporter: Reporter
) -> Change:
    """What one group does to the model."""
    pruners = [pruner for pruner in group if isinstance(pruner, MaskPruner)]
    with reporter.progress(f"prune {' and '.join(pruner.registered_name for pruner in group)}", None):
        if not pruners:
            return group[0].cut(job)
        if target is None:
            return cut_parts(job, pruners)
        kinds = [pruner.kind for pruner in pruners]
        units = scored_units(job, kinds)
    settled = {unit.names: count for pruner in pruners if pruner.decided() for unit, count in amounts(job, units, pruner)}
    units = [_only(unit, settled[unit.names]) if unit.names in settled else unit for unit in units]
    if target.timed:
        assert timer is not None
        reached: Reached = TimeSearch(job, units, target, timer, reporter).counts()
    else:
        reached = to_parameters(job.model, units, target, reference, job.spread)
    with reporter.progress("cut and prove", None):
        change = cut_chosen(job, units, reached.counts)
    got = planned(change.model, [])
    if "planned" in reached.facts and got != reached.facts["planned"]:
        raise JobError(f"target: {reached.facts['planned']} parameters were planned, and the result has {got}")
    return replace(change, facts={**change.facts, "target": reached.facts})


def _only(unit: Unit, count: int) -> Unit:
    """The unit with a count that is settled."""
    return replace(unit, counts=(count,), costs=(unit.costs[unit.counts.index(count)],))
