"""The terms on one batch before training: what each is worth, and which of them moves the student.

A weight says little about that: two terms of weight 1 can differ a thousandfold in their gradients.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compress.core.errors import JobError
from compress.core.reporter import Reporter
from compress.core.trace import Trace
from compress.distill.gradients import gradient_norm
from compress.distill.objective import Objective
from compress.train.place import arithmetic

DEAD = 0.001  # of the gradient
DOMINATING = 0.95


@dataclass(frozen=True)
class TermFacts:
    """One term on the first batch.

    share: of the weighted sum. gradient: length of the gradient of weight * term with respect to the student's
    parameters; gradient_share: of the sum of these lengths.
    """

    name: str
    value: float
    weight: float
    share: float
    gradient: float
    gradient_share: float

    def measured(self) -> dict[str, float]:
        """The facts as plain JSON, for a manifest."""
        values = {
            "value": self.value, "weight": self.weight, "share": self.share,
            "gradient": self.gradient, "gradient_share": self.gradient_share,
        }  # fmt: skip
        return {name: float(f"{value:.6g}") for name, value in values.items()}


@dataclass(frozen=True)
class FirstBatch:
    """rows, tokens: of the batch, padding counted. seconds: of one forward and one backward pass over it."""

    terms: list[TermFacts]
    rows: int
    tokens: int
    seconds: float

    def measured(self) -> dict[str, dict[str, float]]:
        """Term to its facts, for a manifest."""
        return {term.name: term.measured() for term in self.terms}


def look_at(objective: Objective, batch: Mapping[str, Tensor], precision: str) -> FirstBatch:
    """Run the terms once and each one's gradient once; leaves no gradient, draws nothing from the generators.

    Raises JobError for a teacher or a term that gives NaN, InputError for a term that cannot be computed.
    """
    device = batch["input_ids"].device
    with torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []):
        with arithmetic(precision, device):
            _refuse_nan_teachers(objective, batch)
            started = time.perf_counter()
            terms = objective.terms(batch)
        values = [float(term.value.detach()) for term in terms]
        seconds = time.perf_counter() - started
        for term, value in zip(terms, values, strict=True):
            if not math.isfinite(value):
                raise JobError(f"{term.name} is {value} on the first batch, before any training; leave this loss out")
        if objective.gates is not None:
            objective.gates.check_reached(sum((term.value for term in terms[1:]), terms[0].value))
        lengths, slowest = [], 0.0
        for term in terms:
            started = time.perf_counter()
            lengths.append(float(gradient_norm(term.weight * term.value, objective.trained())))
            slowest = max(slowest, time.perf_counter() - started)
    whole, moved = sum(abs(t.weight * v) for t, v in zip(terms, values, strict=True)), sum(lengths)
    facts = [
        TermFacts(
            term.name, value, term.weight, abs(term.weight * value) / whole if whole else 0.0,
            length, length / moved if moved else 0.0,
        )
        for term, value, length in zip(terms, values, lengths, strict=True)
    ]  # fmt: skip
    return FirstBatch(facts, len(batch["input_ids"]), batch["input_ids"].numel(), seconds + slowest)


def tell(found: FirstBatch, balanced: bool, reporter: Reporter) -> None:
    """The table as a note, and a warning for each term that is dead or, unless balanced, dominates."""
    reporter.note("\n".join([f"the terms on {found.rows} rows before training", *table(found.terms)]))
    for warning in warnings_of(found.terms, balanced):
        reporter.warn(warning)


def table(terms: Sequence[TermFacts]) -> list[str]:
    """One line a term under a header, in columns."""
    head = ("term", "value", "weight", "of the loss", "of the gradient")
    rows = [(t.name, f"{t.value:.4g}", f"{t.weight:g}", f"{t.share:.1%}", f"{t.gradient_share:.1%}") for t in terms]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for name, *numbers in (head, *rows):
        cells = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells]))
    return lines


def warnings_of(terms: Sequence[TermFacts], balanced: bool) -> list[str]:
    """What is wrong with the weights, each with the one thing to do."""
    moved = sum(term.gradient for term in terms)
    found = []
    for term in terms:
        rest = moved - term.gradient
        if term.gradient == 0:
            found.append(f"{term.name} has no gradient on the first batch: it trains nothing; leave it out")
        elif balanced or len(terms) < 2:
            continue
        elif term.gradient_share < DEAD:
            enough = _rounded(term.weight * rest / term.gradient / 9)
            found.append(
                f"{term.name} has {term.gradient_share:.2g} of the gradient on the first batch: it changes nothing; "
                f"give it `weight: {enough:g}` (a tenth of the gradient), or leave it out"
            )
        elif term.gradient_share > DOMINATING and rest > 0:
            half = _rounded(term.weight * rest / term.gradient)
            found.append(
                f"{term.name} has {term.gradient_share:.1%} of the gradient on the first batch: the other terms hardly "
                f"count; give it `weight: {half:g}` (half of the gradient), or set `balance: gradient_norm`"
            )
    return found


def _rounded(weight: float) -> float:
    """Two digits: a first batch tells no more."""
    return float(f"{weight:.2g}")


def _refuse_nan_teachers(objective: Objective, batch: Mapping[str, Tensor]) -> None:
    if not objective.needs_teacher:
        return
    traces = objective.teachers.look(batch).traces
    for index, trace in enumerate(traces):
        broken = [what for what, value in _parts(trace) if not bool(torch.isfinite(value).all())]
        if broken:
            which = f"teacher {index + 1} of {len(traces)}" if len(traces) > 1 else "the teacher"
            raise JobError(
                f"{which} gives NaN or infinity on the first batch ({', '.join(broken)}); use `precision: fp32`, and "
                f"another checkpoint if that does not help"
            )


def _parts(trace: Trace) -> list[tuple[str, Tensor]]:
    """What counts of a trace: real tokens and outputs."""
    parts: list[tuple[str, Any]] = []
    if trace.logits is not None:
        parts.append(("logits", trace.logits if trace.outputs is None else trace.logits[trace.outputs]))
    if trace.embedding is not None:
        parts.append(("embedding", trace.embedding))
    parts += [(f"hidden state {layer}", state[trace.mask]) for layer, state in (trace.hidden or {}).items()]
    for what, held in (("queries", trace.queries), ("keys", trace.keys), ("values", trace.values)):
        parts += [(f"{what} {layer}", heads.transpose(1, 2)[trace.mask]) for layer, heads in (held or {}).items()]
    return parts
