"""From a target to counts of heads and neurons: by arithmetic for parameters, by a measured table for time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any, overload

from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.core.errors import InputError
from compress.core.reporter import Reporter
from compress.importance.masks import Masks
from compress.prune.allot import Unit, allot
from compress.prune.base import Job, Spread
from compress.prune.kept_layers import first_layers, keep_layers
from compress.prune.latency import LatencyModel, Measured, Shape, Timer, Timing, fit, shapes_to_time
from compress.prune.masked_cut import cut_masked
from compress.prune.masking import kept, masks_of
from compress.prune.slicing import planned
from compress.prune.target import PARAMETER_BYTES, Target
from compress.shapes.settle import settle

TRIES = 3
OVERSHOT = 1.04  # faster than asked by more than that: more is given up than the target needs
NOISE = 1.02  # how far below its value a timing is taken for at most: parts are not given up for a loud machine
FEW = 1e-9  # a budget is met up to rounding

Maker = Callable[[], PreTrainedModel]


@dataclass(frozen=True)
class Reached:
    """Counts of each unit, and what is known of the target, for the manifest."""

    counts: list[int]
    facts: dict[str, Any]


class MetAlreadyError(InputError):
    """Nothing has to go. Whether something else of the step went before is known to who knows all of it."""


class OutOfReachError(InputError):
    """Even the fewest heads and neurons are too many. What else may go is advised by who knows what goes already."""


def parameter_counts(
    model: PreTrainedModel, units: Sequence[Unit], target: Target, reference: int, spread: Spread, shorter: bool = False
) -> Reached:
    """Counts that leave at most as many parameters as the target allows. reference: what its shares are of. shorter:
    layers went, which may be enough.

    Raises InputError, with the nearest that can be reached, for a target out of reach, and for one that is met already.
    """
    now = planned(model, [])
    allowed = target.parameters_of(reference)
    if now <= allowed and not shorter:
        raise MetAlreadyError(
            f"target: the model has {now:,} parameters, and {allowed:,} are allowed; nothing would go"
        )
    other = now - sum(unit.costs[-1] + unit.gone for unit in units)
    least = int(other + sum(unit.costs[0] for unit in units))
    if least > allowed:
        raise OutOfReachError(
            f"target: {allowed:,} parameters ({_megabytes(allowed)}) cannot be reached; nearest is {least:,} "
            f"({_megabytes(least)}, {least / reference:.2f} of the reference) with {_fewest(units)}; embeddings and "
            f"the rest are {int(other):,}"
        )
    counts = allot(units, allowed - other, spread)
    got = int(other + sum(unit.costs[unit.counts.index(count)] for unit, count in zip(units, counts, strict=True)))
    facts = {"aim": target.aim, "allowed": allowed, "planned": got, "reference": reference}
    return Reached(counts, facts)


class Made(Sequence[PreTrainedModel]):
    """Models that are made when they are asked for: eleven of them at once are as large as a few of the whole.

    seen: by its maker, the heads and neurons of every block of a model that was made.
    """

    def __init__(
        self, makers: Sequence[Maker], seen: dict[Maker, tuple[tuple[int, ...], tuple[int, ...]]] | None = None
    ) -> None:
        self.makers, self.seen = list(makers), {} if seen is None else seen

    def __len__(self) -> int:
        return len(self.makers)

    @overload
    def __getitem__(self, place: int) -> PreTrainedModel: ...
    @overload
    def __getitem__(self, place: slice) -> Made: ...
    def __getitem__(self, place: int | slice) -> PreTrainedModel | Made:
        if isinstance(place, slice):
            return Made(self.makers[place], self.seen)
        maker = self.makers[place]
        model = maker()
        found = kept(model, model)
        self.seen[maker] = tuple(found["heads"]["after"]), tuple(found["neurons"]["after"])
        return model


class TimeSearch:
    """Counts that meet a time: a table is measured, a model fitted to it, and each answer measured again.

    deep: whether layers may go too, so that their own time must be known. Raises InputError, with the nearest that can
    be reached, for a target out of reach, and for one that is met already.
    """

    def __init__(
        self, job: Job, units: Sequence[Unit], target: Target, timer: Timer, reporter: Reporter, deep: bool = False
    ) -> None:
        self.model, self.tokenizer, self.spread = job.model, job.tokenizer, job.spread
        self.target, self.timer, self.reporter, self.units = target, timer, reporter, list(units)
        self.shorter = False
        self.table, self.timings, self.reference = self._measured(deep)
        self.fitted = fit(self.table)
        self.allowed = target.milliseconds_of(self.reference)
        self.timed = self._costed()

    def of(self, job: Job, units: Sequence[Unit]) -> TimeSearch:
        """The same table for the model of another job, such as one with fewer layers."""
        other = copy.copy(self)
        depth = structure_of(job.model).depth
        other.shorter = self.shorter or depth(job.model) < depth(self.model)
        other.model, other.units = job.model, list(units)
        other.timed = other._costed()
        return other

    def _costed(self) -> list[Unit]:
        costs = [tuple(_time(self.fitted, unit, count) for count in unit.counts) for unit in self.units]
        return [replace(unit, costs=cost) for unit, cost in zip(self.units, costs, strict=True)]

    def first(self) -> list[int] | None:
        """Counts by the table alone; None when all may stay. Raises OutOfReachError."""
        if self._whole() <= self.allowed:
            return None
        self._refuse()
        return self._within(self.allowed)[0]

    def counts(self) -> Reached:
        """Search, measure, correct the budget, at most twice; the best answer, met or not.

        No shape is timed twice to choose by: the luckier of two timings would be taken. The chosen model is timed once
        more, nothing is decided by that, and it is what the manifest says was measured.
        """
        self._refuse()
        budget, tried, seen = self.allowed, list[dict[str, Any]](), list[list[int]]()
        best: tuple[tuple[float, float], list[int]] | None = None
        while len(tried) < TRIES:
            counts, predicted = self._within(budget)
            if counts in seen:
                break
            seen.append(counts)
            timing = self.timer([self._cut(counts)], self.tokenizer)[0]
            surely = self._surely(timing)
            tried.append({"budget_ms": _short(budget), "predicted_ms": _short(predicted), **timing.facts()})
            # Of those that meet the target the slowest gives up least; of the others the fastest is nearest.
            rank = (1.0, -surely) if surely >= 1 else (0.0, surely)
            if best is None or rank > best[0]:
                best = (rank, counts)
            if 1 <= surely <= OVERSHOT or (predicted <= self._least() and surely < 1):
                break
            # Below the whole, so that something goes: it is slower than was asked, or nobody would search.
            budget = max(min(predicted * surely, self._whole() * (1 - 1e-6)), self._least())
        assert best is not None
        again = self.timer([self._cut(best[1])], self.tokenizer)[0]
        return Reached(best[1], self._facts(best[1], again, tried))

    def _surely(self, timing: Timing) -> float:
        """Over 1: faster than the target asks, by the lower end of its interval (by its value, where there is none).

        So a model is aimed at that still meets the target when it is timed again; NOISE limits what that costs.
        """
        low = timing.ratio if timing.interval is None else max(timing.interval[0], timing.ratio / NOISE)
        return self._reached(timing) * low / timing.ratio

    def _reached(self, timing: Timing) -> float:
        """Over 1: faster than the target asks."""
        if self.target.speedup is not None:
            return timing.ratio / self.target.speedup
        return self.allowed / timing.milliseconds

    def _within(self, budget: float) -> tuple[list[int], float]:
        counts = allot(self.timed, (budget - self._fixed()) * (1 + FEW), self.spread)
        spent = sum(u.costs[u.counts.index(n)] for u, n in zip(self.timed, counts, strict=True))
        return counts, self._fixed() + spent

    def _fixed(self) -> float:
        """Time that no heads and no neurons take."""
        return self.fitted.fixed(len(structure_of(self.model).ffn_blocks(self.model)))

    def _least(self) -> float:
        return self._fixed() + sum(unit.costs[0] for unit in self.timed)

    def _whole(self) -> float:
        return self._fixed() + sum(unit.costs[-1] for unit in self.timed)

    def _refuse(self) -> None:
        least, whole = self._least(), self._whole()
        if least > self.allowed:
            raise OutOfReachError(
                f"target: {self._asked()} cannot be reached; nearest is {self.reference / least:.2f}x ({least:.3g} ms) "
                f"with {_fewest(self.units)}; the rest takes {self._fixed():.3g} ms"
            )
        # Where layers went or a ratio takes parts, the target may be met by that alone.
        if whole <= self.allowed and not self.shorter and not any(unit.gone for unit in self.units):
            raise MetAlreadyError(
                f"target: {self._asked()} is met already: the model takes {whole:.3g} ms,"
                f" {self.reference / whole:.2f}x "
                "the reference's speed; nothing would go"
            )

    def _asked(self) -> str:
        if self.target.latency is not None:
            return f"{self.allowed:.3g} ms"
        return f"{self.target.speedup:g}x ({self.allowed:.3g} of {self.reference:.3g} ms)"

    def _measured(self, deep: bool) -> tuple[list[Measured], list[Timing], float]:
        """The table, its timings, and the reference's time in ms."""
        heads, neurons = (_counts(self.units, kind) for kind in ("heads", "neurons"))
        shapes = shapes_to_time(heads or [0], neurons or [0])
        self.reporter.note(f"timing {len(shapes)} shapes of the model for the latency table")
        models = Made([partial(self._uniform, shape) for shape in shapes])
        if deep:
            models.makers += [partial(keep_layers, self.model, some) for some in first_layers(self.model)]
        timings = self.timer(models, self.tokenizer)
        reference = median(timing.milliseconds * timing.ratio for timing in timings)
        lines = [models.seen[maker] for maker in models.makers]
        table = [Measured(*line, reference / timing.ratio) for line, timing in zip(lines, timings, strict=True)]
        return table, timings, reference

    def _uniform(self, shape: Shape) -> PreTrainedModel:
        """The model with arbitrary parts gone, at most the shape's counts in every layer."""
        most = {"heads": shape.heads, "neurons": shape.neurons}
        return self._cut(
            [max([n for n in unit.counts if n <= most[unit.kind]] or [unit.counts[0]]) for unit in self.units]
        )

    def _cut(self, counts: Sequence[int]) -> PreTrainedModel:
        masks: Masks = masks_of(self.units, counts)
        return settle(cut_masked(self.model, masks))

    def _facts(self, counts: Sequence[int], timing: Timing, tried: list[dict[str, Any]]) -> dict[str, Any]:
        spent = sum(u.costs[u.counts.index(n)] for u, n in zip(self.timed, counts, strict=True))
        predicted = self._fixed() + spent
        met = self._reached(timing) >= 1
        if not met:
            self.reporter.warn(
                f"target: {self._asked()} was missed: measured {timing.milliseconds:.3g} ms, {timing.ratio:.2f}x,"
                f" after {_corrections(len(tried) - 1)}; run it on a quieter machine, or ask for a little more"
            )
        return {
            "aim": self.target.aim, "allowed_ms": _short(self.allowed), "reference_ms": _short(self.reference),
            "engine": self.target.engine, "batch": self.target.batch, "length": self.target.length,
            "predicted": {"ms": _short(predicted), "speedup": _short(self.reference / predicted)},
            "measured": timing.facts(), "met": met, "tries": tried, "fit": self.fitted.facts(),
            "table": [
                {"layers": len(line.neurons), "heads": max(line.heads), "neurons": max(line.neurons), **one.facts()}
                for line, one in zip(self.table, self.timings, strict=True)
            ],
        }  # fmt: skip


def _counts(units: Sequence[Unit], kind: str) -> Sequence[int]:
    """The counts of the largest unit of a kind."""
    return max((unit.counts for unit in units if unit.kind == kind), key=lambda counts: counts[-1], default=())


def _time(fitted: LatencyModel, unit: Unit, count: int) -> float:
    each = fitted.attention(count) if unit.kind == "heads" else fitted.ffn(count)
    return each * len(unit.names)


def _fewest(units: Sequence[Unit]) -> str:
    """`every layer at 1 head and 8 neurons`."""
    words = {"heads": "head", "neurons": "neuron"}
    parts = []
    for kind, word in words.items():
        least = min((unit.counts[0] for unit in units if unit.kind == kind), default=0)
        if least:
            parts.append(f"{least} {word}{'s' if least > 1 else ''}")
    return f"every layer at {' and '.join(parts)}"


def _corrections(count: int) -> str:
    return f"{count or 'no'} correction{'' if count == 1 else 's'}"


def _megabytes(parameters: int) -> str:
    return f"{parameters * PARAMETER_BYTES / 1e6:.1f} MB"


def _short(value: float) -> float:
    return float(f"{value:.5g}")
