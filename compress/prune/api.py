"""Pruning as one function: `prune_model(model, tokenizer, [Heads(ratio=0.5), Ffn(ratio=0.5)], Magnitude())`.

Pruners act in a fixed order, from coarse to fine: `vocab`, `depth`, `width`, then `heads` and `ffn` together (one
scoring, one choice, one cut), then `weights`. What comes later is scored on what the earlier ones left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from torch import nn
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.core.reporter import Reporter
from compress.importance.base import IMPORTANCES, Evidence, Importance
from compress.prune.base import Change, Job, Pruner, Spread, Tune
from compress.prune.depth import Depth
from compress.prune.latency import Timer
from compress.prune.masking import MaskPruner, cut_parts, kept
from compress.prune.reach import Reach
from compress.prune.slicing import planned
from compress.prune.target import Target
from compress.prune.width import Width
from compress.shapes.low_rank import LowRankLinear
from compress.train.floats import refuse_quantized
from compress.train.zeros import carry, marked, refuse

LAYERS_BY = "similarity"
MOVED = frozenset({"heads", "neurons", "hidden"})  # parts whose cut takes rows and columns out of matrices
EvidenceOf = Callable[[Any], Evidence]  # of a tokenizer: `vocab` changes the one that texts are read with


@dataclass
class Pruned:
    """A smaller model, proven and settled, with its tokenizer. facts: what was done, for the manifest."""

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
    tune: bool | Tune = False,
    target: Target | None = None,
    reference: int | None = None,
    timer: Timer | None = None,
    reporter: Reporter | None = None,
) -> Pruned:
    """Take parts out of a model (float32, on the CPU); `model` keeps its weights, and is in eval mode from then on.

    evidence: what the criterion looks at, or a function that makes it for a tokenizer. texts: the fields of every
    training row. spread: `global` lets layers keep different numbers, `uniform` does not. tune: `masks` (or True)
    rescales what stays, `outputs` fits the output matrices anew, by the evidence's texts. target: how much of heads and
    neurons goes, where their pruners say nothing; reference: parameters that its shares are of, default the model's;
    timer: times models for a latency or a speed-up.
    Raises InputError for what cannot be asked, JobError when a proof fails.
    """
    faults = check(what, by, tune, target)
    if faults:
        raise InputError("; ".join(faults))
    if target is not None and target.timed and timer is None:
        raise InputError(f"target: {target.aim} needs a `timer`, which times models on this machine")
    refuse_quantized(model)
    before = planned(model, [])
    seen = evidence if callable(evidence) else _same(evidence)
    nn.Module.eval(model)
    job = Job(model, tokenizer, by, seen(tokenizer), texts, multiple, spread, "masks" if tune is True else tune or None)
    facts: dict[str, Any] = {}
    reach = (
        None
        if target is None
        else Reach(
            target,
            reference or before,
            timer,
            reporter or Reporter(),
            frozenset(pruner.registered_name for pruner in what),
        )
    )
    for group in acting(what):
        job = replace(job, importance=by if len(group) > 1 else _chooser(group, by))
        change = _cut(job, group, reach, by, reporter or Reporter())
        _forget_gone(change.model)
        if change.tokenizer is not job.tokenizer:
            job = replace(job, evidence=seen(change.tokenizer))
        job = replace(job, model=change.model, tokenizer=change.tokenizer)
        if any(isinstance(pruner, MaskPruner) for pruner in group):
            change.facts.update(kept(model, change.model))  # of the model as it came, with all its layers
        facts["+".join(pruner.registered_name for pruner in group)] = change.facts
    facts["parameters"] = {"before": before, "after": planned(job.model, [])}
    return Pruned(job.model, job.tokenizer, facts)


def check(what: Sequence[Pruner], by: Importance, tune: bool | Tune, target: Target | None) -> list[str]:
    """What cannot be asked, as far as the options alone tell."""
    names = [pruner.registered_name for pruner in what]
    faults = [f"what: {name} stands twice; give it one amount" for name in sorted(set(names)) if names.count(name) > 1]
    open_ones = [pruner.registered_name for pruner in what if not pruner.decided()]
    masks = [pruner for pruner in what if isinstance(pruner, MaskPruner)]
    if target is not None and "depth" in open_ones and not any(not pruner.decided() for pruner in masks):
        faults.append("depth: is left to the target only beside `heads: {}` or `ffn: {}`; give it a ratio")
    if target is None and open_ones:
        faults.append(
            f"what: {' and '.join(open_ones)}: how much goes? give `ratio` or `ratios`, or a `target` for the whole"
        )
    if target is not None and not open_ones:
        faults.append(
            "target: nothing is left for it to decide; have `heads: {}` or `ffn: {}` without a ratio in `what`"
        )
    if target is not None and "weights" in names:
        faults.append(
            "target: zeros among the weights save neither parameters nor time; prune `weights` in a step after"
        )
    if tune not in (False, True, *get_args(Tune)):
        faults.append(f"tune: expected masks, outputs, true or false, came {tune!r}")
    if tune and not masks:
        faults.append("tune: makes up for heads and neurons that go, and `what` has neither; leave it out")
    for pruner in what:
        lacking = pruner.ranked_by() - by.parts
        if lacking and pruner.reads != frozenset({"layers"}):
            able = [name for name in IMPORTANCES.names() if pruner.reads <= IMPORTANCES.get(name).parts]
            faults.append(
                f"by: {by.registered_name} cannot score {', '.join(sorted(lacking))}, which {pruner.registered_name} "
                f"chooses by; take {', '.join(able)}"
            )
    return faults


def unread(what: Sequence[Pruner], by: Importance, given: Collection[str]) -> list[str]:
    """Options among `by`, `spread`, `multiple` and `samples` that are given, and that nothing in `what` reads."""
    masks = any(isinstance(pruner, MaskPruner) for pruner in what)
    ranked = [pruner.ranked_by() for pruner in what if pruner.ranked_by()]
    reasons = {
        "by": (any(parts & by.parts for parts in ranked), "ranks parts, and nothing in `what` is chosen by it"),
        "samples": (bool(ranked), "are what a criterion looks at, and nothing in `what` is chosen by one"),
        "spread": (masks, "says how heads and neurons are shared out, and `what` has neither"),
        "multiple": (
            masks or any(isinstance(pruner, Width) for pruner in what),
            "rounds counts of heads and neurons, and `what` has neither, nor `width`",
        ),
    }
    return [f"{name}: {why}; leave it out" for name, (read, why) in reasons.items() if name in given and not read]


def acting(what: Sequence[Pruner]) -> list[list[Pruner]]:
    """The pruners in the order in which they act; those of heads and neurons act as one, with a depth left open."""
    together = [pruner for pruner in what if isinstance(pruner, MaskPruner)]
    together.sort(key=lambda pruner: pruner.kind)
    open_ones = [pruner for pruner in what if isinstance(pruner, Depth) and not pruner.decided()]
    others = [[pruner] for pruner in what if pruner not in together and pruner not in open_ones]
    group: list[Pruner] = [*together, *open_ones]
    return sorted([*others, *([group] if group else [])], key=lambda group: group[0].order)


def _names(group: Sequence[Pruner]) -> str:
    return " and ".join(pruner.registered_name for pruner in group)


def _same(evidence: Evidence) -> EvidenceOf:
    return lambda tokenizer: evidence


def _chooser(group: Sequence[Pruner], by: Importance) -> Importance:
    """The recipe's criterion; for layers the one made for them, where it has nothing to say of layers."""
    if group and "layers" in group[0].reads and "layers" not in by.parts:
        return IMPORTANCES.get(LAYERS_BY)()
    return by


def _cut(job: Job, group: Sequence[Pruner], reach: Reach | None, by: Importance, reporter: Reporter) -> Change:
    """What one group does to the model."""
    _refuse_products(job.model, group)
    if group[0].reads & MOVED:
        refuse(job.model, _names(group))
    pruners = [pruner for pruner in group if isinstance(pruner, MaskPruner)]
    others = [pruner for pruner in group if not isinstance(pruner, MaskPruner)]
    if pruners and reach is not None:
        return reach.cut(job, pruners, replace(job, importance=_chooser(others, by)) if others else None)
    with reporter.progress(f"prune {_names(group)}", None):
        return cut_parts(job, pruners) if pruners else others[0].cut(job)


def _forget_gone(model: PreTrainedModel) -> None:
    """Take the matrices of layers that went out of the mark of pruned weights. (Those of all layers are marked.)"""
    held = {name for name, _ in model.base_model.named_parameters()}
    if marked(model) - held:
        carry(model, model, marked(model) & held)


def _refuse_products(model: PreTrainedModel, group: Sequence[Pruner]) -> None:
    """Raises InputError for a factorized model: criteria rank parts by the weights of whole matrices."""
    if not group[0].ranked_by() - {"layers"}:
        return
    thin = [name for name, part in model.named_modules() if isinstance(part, LowRankLinear)]
    if thin:
        raise InputError(
            f"{_names(group)}: {thin[0]} is a product of two thin matrices, and criteria read the weights of whole "
            f"ones; prune before `factorize: low_rank`"
        )
