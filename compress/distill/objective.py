"""The objective: weighted losses over a student and its teachers, with the projections that unequal widths need.

Projections are parameters of the objective, trained with the student and never saved in it; so is what a balancer
learns, and the scores of gates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.anatomy.capture import Pool, Read, Tap, Wanted
from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.distill.balance.base import Balance
from compress.distill.balance.none import NoBalance
from compress.distill.combine.base import Combine
from compress.distill.gates.base import Gating
from compress.distill.teacher import Teacher
from compress.distill.teachers import Said, Teachers, pulled
from compress.losses.base import Loss

EMBEDDING = "embedding"
INSIDE = frozenset({"hidden", "attention", "values", EMBEDDING})  # what each teacher has for itself

Pairs = list[tuple[int, int]]


@dataclass(frozen=True)
class Term:
    """One loss on one batch: its name in the record, the recipe's weight, its unweighted value."""

    name: str
    weight: float
    value: Tensor


class Objective(nn.Module):
    """`objective(batch) -> (total, terms)`.

    The student is a submodule. The teachers are not: they stay in eval mode, without gradients, out of every
    checkpoint, whatever `train()` is called. Of several teachers a term on outputs sees the combined ones; any other
    term is the sum of its values against each, with that teacher's own layer map and projections, in the shares that
    `combine` gives.

    combine: how several teachers count (equally, when not given). balance: how terms are weighed while training.
    gates: those of the student's heads and neurons; they stay on it until they are settled.
    output: the task's kind of output (`Task.output`).
    """

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: Teacher | Sequence[Teacher] | None,
        losses: Sequence[Loss],
        *,
        combine: Combine | None = None,
        balance: Balance | None = None,
        gates: Gating | None = None,
        output: str = "classes",
        read: Read | None = None,
        pool: Pool | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.losses = list(losses)
        self.names = _names(self.losses)
        given = [teacher] if isinstance(teacher, Teacher) else list(teacher or ())
        self.needs_teacher = any(loss.needs_teacher for loss in self.losses)
        if self.needs_teacher and not given:
            raise InputError("the losses compare with a teacher, and none was given")
        self.teachers = Teachers(given, combine, output)
        self.pairs = [self._pairs_with(each) for each in given]
        read_by = [pairs for own in self.pairs for pairs in own] or [[] for _ in self.losses]
        wanted = wanted_of(self.losses * max(1, len(given)), read_by, side=0)
        self._student_tap = Tap(student, wanted, read=read, pool=pool)
        compared = [index for index, loss in enumerate(self.losses) if loss.needs_teacher]
        self.teachers.want(
            [wanted_of([self.losses[i] for i in compared], [own[i] for i in compared], side=1) for own in self.pairs]
        )
        self.projections = nn.ModuleDict()
        for each, own in enumerate(self.pairs):
            self._project(each, given[each].width, own)
        self.balancer = (balance or NoBalance()).build(len(self.losses))
        self.gates = gates
        if gates is not None:
            gates.attach(student)

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and each unweighted term, by name (`name#3`: the third loss, whose name came before).

        Where the weights are balanced, the record also has `NAME weight`, the weight that the term had; where there are
        gates, the share of each kind that is open.
        """
        terms = self.terms(batch)
        total: Tensor = self.balancer([t.weight for t in terms], [t.value for t in terms], self.trained())
        record = {term.name: term.value.detach() for term in terms}
        factors = self.balancer.factors()
        if factors is not None:
            record |= {f"{t.name} weight": t.weight * f.detach() for t, f in zip(terms, factors, strict=True)}
        if self.gates is not None:
            record |= self.gates.record()
        return total, record

    def terms(self, batch: Mapping[str, Tensor]) -> list[Term]:
        """Every loss on a batch, in order. Raises InputError with the term's name for one that cannot be computed."""
        student = self._student_tap(batch)
        said = self.teachers.look(batch) if self.needs_teacher else None
        seen = [teacher.align(student, batch) for teacher in self.teachers.each]
        terms = []
        for index, (name, loss) in enumerate(zip(self.names, self.losses, strict=True)):
            try:
                value = self._against(index, loss, seen, said) if loss.needs_teacher and said else loss(student, None)
                terms.append(Term(name, loss.weight, value))
            except InputError as error:
                raise _named(name, error) from error
        return terms

    def trained(self) -> list[nn.Parameter]:
        """The student's parameters that training moves."""
        return [value for value in self.student.parameters() if value.requires_grad]

    def layer_maps(self, batch: Mapping[str, Tensor]) -> dict[str, list[dict[str, Any]]]:
        """For each term on layers and each teacher: its pairs, or the weights `[n, m]` of a soft map on this batch."""
        found: dict[str, list[dict[str, Any]]] = {}
        if not any(pairs for own in self.pairs for pairs in own):
            return found
        soft = any(loss.soft_map for loss in self.losses)
        student = self._student_tap(batch) if soft else None
        traces = self.teachers.look(batch).traces if soft else []
        for index, (name, loss) in enumerate(zip(self.names, self.losses, strict=True)):
            for each, own in enumerate(self.pairs):
                if not own[index]:
                    continue
                entry: dict[str, Any] = {"teacher": each + 1}
                if student is not None and loss.soft_map:
                    seen = self._projected(index, each, self.teachers.each[each].align(student, batch))
                    weights = loss.map_weights(seen, traces[each])
                    assert weights is not None
                    entry["weights"] = [[round(value, 4) for value in row] for row in weights.tolist()]
                else:
                    entry["pairs"] = [list(pair) for pair in own[index]]
                found.setdefault(name, []).append(entry)
        return found

    def close(self) -> None:
        """Take every hook off the models, so that the student is a stock model again."""
        self._student_tap.close()
        self.teachers.close()

    def _pairs_with(self, teacher: Teacher) -> list[Pairs]:
        depth = anatomy_of(self.student).depth(self.student)
        pairs: list[Pairs] = []
        for name, loss in zip(self.names, self.losses, strict=True):
            try:
                pairs.append(loss.pairs(depth, teacher.depth) if loss.needs_teacher else [])
            except InputError as error:
                raise _named(name, error) from error
        return pairs

    def _project(self, each: int, wide: int, pairs: Sequence[Pairs]) -> None:
        width = anatomy_of(self.student).width(self.student)
        for index, loss in enumerate(self.losses):
            if loss.projects and loss.needs_teacher and wide != width:
                parts: list[int | str] = [*sorted({one for one, _ in pairs[index]}), *({EMBEDDING} & loss.needs)]
                self.projections[_key(index, each)] = _projections(parts, width, wide)

    def _against(self, index: int, loss: Loss, student: Sequence[Trace], said: Said) -> Tensor:
        """A loss against the teachers; student: its trace as each of them can be compared with."""
        if len(said.traces) == 1 or not loss.needs & INSIDE:
            return loss(self._projected(index, 0, student[0]), said.together)
        parts: list[Tensor] = []
        for each, (trace, shares) in enumerate(zip(said.traces, said.rows, strict=True)):
            seen, mean = self._projected(index, each, student[each]), shares.mean().clamp(min=1e-12)
            if self.teachers.combine.by_row:
                seen = pulled(seen, shares / mean)
            parts.append(mean * loss(seen, trace))
        return sum(parts[1:], parts[0])

    def _projected(self, index: int, each: int, student: Trace) -> Trace:
        if _key(index, each) not in self.projections:
            return student
        chosen = self.projections[_key(index, each)]
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


def _names(losses: Sequence[Loss]) -> list[str]:
    names: list[str] = []
    for index, loss in enumerate(losses):
        name = loss.registered_name
        names.append(name if name not in names else f"{name}#{index + 1}")
    return names


def _named(name: str, error: InputError) -> InputError:
    text = str(error)
    return InputError(text if text.startswith(name.partition("#")[0]) else f"{name}: {text}")


def _key(index: int, each: int) -> str:
    """The projections of a loss towards a teacher; those of the first teacher go by the loss alone."""
    return str(index) if each == 0 else f"{index}-{each + 1}"


def _projections(parts: Sequence[int | str], width: int, wide: int) -> nn.ModuleDict:
    """One matrix per compared student layer or embedding. Drawn so that a projected state keeps its entries' size."""
    chosen = nn.ModuleDict()
    for part in parts:
        matrix = nn.Linear(width, wide, bias=False)
        nn.init.normal_(matrix.weight, std=1 / math.sqrt(width))
        chosen[str(part)] = matrix
    return chosen
