"""The objective: weighted losses over a student and a teacher, with the projections that unequal widths need.

Projections are parameters of the objective, trained with the student and never saved in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.anatomy.capture import Pool, Read, Tap, Wanted
from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.distill.teacher import Teacher
from compress.losses.base import Loss

TEACHER_LOGITS = "teacher_logits"
EMBEDDING = "embedding"


class Objective(nn.Module):
    """`objective(batch) -> (total, terms)`.

    The student is a submodule. The teacher is not: it stays in eval mode, without gradients, out of every checkpoint,
    whatever `train()` is called. A batch that carries `teacher_logits` needs no teacher run when no loss reads more.
    """

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: Teacher | None,
        losses: Sequence[Loss],
        *,
        read: Read | None = None,
        pool: Pool | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.losses = list(losses)
        self.teacher = teacher
        self.needs_teacher = any(loss.needs_teacher for loss in self.losses)
        if self.needs_teacher and teacher is None:
            raise InputError("the losses compare with a teacher, and none was given")
        mine = anatomy_of(student)
        depth = teacher.depth if teacher is not None else 0
        pairs = [loss.pairs(mine.depth(student), depth) if loss.needs_teacher else [] for loss in self.losses]
        self._student_tap = Tap(student, wanted_of(self.losses, pairs, side=0), read=read, pool=pool)
        compared = [loss for loss in self.losses if loss.needs_teacher]
        self.wanted = wanted_of(
            compared, [p for p, loss in zip(pairs, losses, strict=True) if loss.needs_teacher], side=1
        )
        self.logits_only = self.wanted == Wanted(logits=True)
        self.projections = nn.ModuleDict()
        if teacher is not None:
            teacher.want(self.wanted)
            if teacher.width != mine.width(student):
                for index, loss in enumerate(self.losses):
                    if loss.projects:
                        parts = [*sorted({one for one, _ in pairs[index]}), *({EMBEDDING} & loss.needs)]
                        self.projections[str(index)] = _projections(parts, mine.width(student), teacher.width)

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and each unweighted term, by name (`name#3`: the third loss, whose name came before)."""
        student = self._student_tap(batch)
        teacher = self._look(batch) if self.needs_teacher else None
        total: Tensor | None = None
        terms: dict[str, Tensor] = {}
        for index, loss in enumerate(self.losses):
            term = loss(self._projected(index, student), teacher)
            name = loss.registered_name
            terms[name if name not in terms else f"{name}#{index + 1}"] = term.detach()
            total = loss.weight * term if total is None else total + loss.weight * term
        assert total is not None
        return total, terms

    def close(self) -> None:
        """Take every hook off the models, so that the student is a stock model again."""
        self._student_tap.close()
        if self.teacher is not None:
            self.teacher.close()

    def _look(self, batch: Mapping[str, Tensor]) -> Trace:
        if self.logits_only and TEACHER_LOGITS in batch:
            return Trace(
                mask=batch["attention_mask"].bool(),
                logits=batch[TEACHER_LOGITS],
                outputs=batch.get("outputs"),
                labels=batch.get("labels"),
            )
        assert self.teacher is not None
        return self.teacher.trace(batch)

    def _projected(self, index: int, student: Trace) -> Trace:
        if str(index) not in self.projections:
            return student
        chosen = self.projections[str(index)]
        assert isinstance(chosen, nn.ModuleDict)
        if EMBEDDING in chosen and student.embedding is not None:
            student = replace(student, embedding=chosen[EMBEDDING](student.embedding))
        layers = {int(name): chosen[name](student.hidden_at(int(name))) for name in chosen if name != EMBEDDING}
        return student.with_hidden(layers)


def wanted_of(losses: Sequence[Loss], pairs: Sequence[Sequence[tuple[int, int]]], side: int) -> Wanted:
    """What losses read of the student (side 0) or the teacher (side 1) under their layer pairs."""

    def layers(what: str) -> frozenset[int]:
        return frozenset(p[side] for loss, own in zip(losses, pairs, strict=True) if what in loss.needs for p in own)

    return Wanted(
        hidden=layers("hidden"),
        attention=layers("attention"),
        values=layers("values"),
        logits=any("logits" in loss.needs for loss in losses),
        embedding=any("embedding" in loss.needs for loss in losses),
    )


def _projections(parts: Sequence[int | str], width: int, wide: int) -> nn.ModuleDict:
    """One matrix per compared student layer or embedding. Drawn so that a projected state keeps its entries' size."""
    chosen = nn.ModuleDict()
    for part in parts:
        matrix = nn.Linear(width, wide, bias=False)
        nn.init.normal_(matrix.weight, std=1 / math.sqrt(width))
        chosen[str(part)] = matrix
    return chosen
