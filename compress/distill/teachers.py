"""The teachers of one objective: each one's trace of a batch, and what they say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from compress.anatomy.capture import Wanted
from compress.core.trace import Trace
from compress.distill.combine.base import Combine, rows
from compress.distill.combine.fixed import Fixed
from compress.distill.teacher import Teacher


@dataclass(frozen=True)
class Said:
    """What the teachers say of one batch.

    traces: of each. together: one trace with the combined outputs, the first teacher's own where there is one only.
    rows: `[k, b]`, how much each teacher counts for each row.
    """

    traces: list[Trace]
    together: Trace
    rows: Tensor


class Teachers:
    """One or several teachers. Not a module: they stay in eval mode, without gradients, out of every checkpoint."""

    def __init__(self, teachers: Sequence[Teacher], combine: Combine | None, output: str) -> None:
        self.each = list(teachers)
        self.combine = combine or Fixed()
        self.output = output
        self.wants: list[Wanted] = []
        if self.each and (len(self.each) > 1 or combine is not None):
            self.combine.check(len(self.each), output)

    def want(self, wants: Sequence[Wanted]) -> None:
        """Say what each one's traces must hold; outputs too where they decide how much a teacher counts."""
        needed = self.combine.by_row and len(self.each) > 1
        self.wants = [replace(wanted, logits=wanted.logits or needed) for wanted in wants]
        for teacher, wanted in zip(self.each, self.wants, strict=True):
            teacher.want(wanted)

    def look(self, batch: Mapping[str, Tensor]) -> Said:
        """Every teacher's trace of a batch and their common one."""
        with torch.no_grad():
            traces = [teacher.trace(batch) for teacher in self.each]
            if len(traces) == 1:
                return Said(traces, traces[0], torch.ones(1, len(traces[0].mask), device=traces[0].mask.device))
            shares = self.combine.shares(traces)
            return Said(traces, self.combine.combined(traces, shares, self.output), rows(shares, traces[0]))

    def close(self) -> None:
        """Let go of the models."""
        for teacher in self.each:
            teacher.close()


def pulled(student: Trace, shares: Tensor) -> Trace:
    """The same trace, whose rows get the gradients of a loss in these shares `[b]`.

    A loss is one number for a batch, so that rows cannot be weighed in its value. Its gradient can be, where it comes
    back into the student's trace: for a loss that is a mean over rows or tokens this is the gradient of the weighted
    mean, and for one between rows it says how far each row follows.
    """

    def scaled(held: dict[int, Tensor] | None) -> dict[int, Tensor] | None:
        return None if held is None else {layer: _scaled(value, shares) for layer, value in held.items()}

    return replace(
        student,
        logits=None if student.logits is None else _scaled(student.logits, shares),
        embedding=None if student.embedding is None else _scaled(student.embedding, shares),
        hidden=scaled(student.hidden),
        queries=scaled(student.queries),
        keys=scaled(student.keys),
        values=scaled(student.values),
    )


def _scaled(value: Tensor, shares: Tensor) -> Tensor:
    found: Tensor = _RowGradient.apply(value, shares)  # type: ignore[no-untyped-call]
    return found


class _RowGradient(torch.autograd.Function):
    """The value as it is; its gradient times one number for each row."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, shares: Tensor) -> Tensor:
        """`[b, ...]`, unchanged."""
        ctx.save_for_backward(shares)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The gradient `[b, ...]`, row by row."""
        (shares,) = ctx.saved_tensors
        (gradient,) = gradients
        return gradient * shares.view(-1, *[1] * (gradient.dim() - 1)).to(gradient.dtype), None
