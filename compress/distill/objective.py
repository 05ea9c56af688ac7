"""The objective: weighted losses over a student and a teacher, with the projections that unequal widths need.

Projections are parameters of the objective, trained with the student and never saved in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.anatomy.capture import Tap
from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.losses.base import Loss

TEACHER_LOGITS = "teacher_logits"


class Objective(nn.Module):
    """`objective(batch) -> (total, terms)`.

    The student is a submodule. The teacher is not: it stays in eval mode, without gradients, out of every checkpoint,
    whatever `train()` is called. A batch that carries `teacher_logits` needs no teacher run when no loss reads more.
    """

    def __init__(self, student: PreTrainedModel, teacher: PreTrainedModel | None, losses: Sequence[Loss]) -> None:
        super().__init__()
        self.student = student
        self.losses = list(losses)
        self._teacher: tuple[PreTrainedModel, ...] = () if teacher is None else (teacher,)
        for frozen in self._teacher:
            frozen.train(False)
        mine = anatomy_of(student)
        theirs = anatomy_of(teacher) if teacher is not None else None
        depths = (mine.depth(student), theirs.depth(teacher) if theirs is not None and teacher is not None else 0)
        self.needs_teacher = any(loss.needs_teacher for loss in self.losses)
        if self.needs_teacher and teacher is None:
            raise InputError("the losses compare with a teacher, and none was given")
        pairs = [loss.pairs(*depths) if loss.needs_teacher else [] for loss in self.losses]
        of_outputs = [loss for loss in self.losses if "logits" in loss.needs]
        self._student_tap = Tap(student, *_layers(self.losses, pairs, side=0), logits=bool(of_outputs))
        told = any(loss.needs_teacher for loss in of_outputs)
        self._teacher_taps = [Tap(t, *_layers(self.losses, pairs, side=1), logits=told) for t in self._teacher]
        self.logits_only = all("hidden" not in loss.needs and "attention" not in loss.needs for loss in self.losses)
        self.projections = nn.ModuleDict()
        if teacher is not None and theirs is not None and theirs.width(teacher) != mine.width(student):
            for index, loss in enumerate(self.losses):
                if loss.projects:
                    self.projections[str(index)] = _projections(
                        pairs[index], mine.width(student), theirs.width(teacher)
                    )

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
        for tap in (self._student_tap, *self._teacher_taps):
            tap.close()

    def to_device(self, device: torch.device) -> None:
        """Move the teacher too; `nn.Module.to` reaches only the student and the projections."""
        for teacher in self._teacher:
            nn.Module.to(teacher, device)

    def _look(self, batch: Mapping[str, Tensor]) -> Trace:
        if self.logits_only and TEACHER_LOGITS in batch:
            return Trace(
                mask=batch["attention_mask"].bool(),
                logits=batch[TEACHER_LOGITS],
                outputs=batch.get("outputs"),
                labels=batch.get("labels"),
            )
        teacher = self._teacher[0]
        device = batch["input_ids"].device
        if teacher.device != device:
            self.to_device(device)
        with torch.no_grad():
            return self._teacher_taps[0](batch)

    def _projected(self, index: int, student: Trace) -> Trace:
        if str(index) not in self.projections or student.hidden is None:
            return student
        chosen = self.projections[str(index)]
        assert isinstance(chosen, nn.ModuleDict)
        return student.with_hidden({int(layer): chosen[layer](student.hidden[int(layer)]) for layer in chosen})


def _layers(
    losses: Sequence[Loss], pairs: Sequence[Sequence[tuple[int, int]]], side: int
) -> tuple[frozenset[int], frozenset[int]]:
    """The layers whose hidden states, and whose queries and keys, some loss reads."""
    hidden = {p[side] for loss, chosen in zip(losses, pairs, strict=True) if "hidden" in loss.needs for p in chosen}
    heads = {p[side] for loss, chosen in zip(losses, pairs, strict=True) if "attention" in loss.needs for p in chosen}
    return frozenset(hidden), frozenset(heads)


def _projections(pairs: Sequence[tuple[int, int]], width: int, wide: int) -> nn.ModuleDict:
    """One matrix per compared student layer. Drawn so that a projected state keeps the size of its entries."""
    chosen = nn.ModuleDict()
    for layer in sorted({student for student, _ in pairs}):
        matrix = nn.Linear(width, wide, bias=False)
        nn.init.normal_(matrix.weight, std=1 / math.sqrt(width))
        chosen[str(layer)] = matrix
    return chosen
