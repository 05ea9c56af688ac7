"""The student of a distillation: built from its teacher, or taken up from a model of an earlier stage."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from compress.core.errors import InputError
from compress.distill.tokens import StudentTokens
from compress.steps.base import Context
from compress.students.base import StudentArchitecture
from compress.students.inherit import architecture_facts
from compress.tasks.base import Task
from compress.train.folder import Loaded, load_model


def start_of(name: str | None, teacher: Loaded, task: Task, context: Context) -> Loaded | None:
    """The model that the student's body starts from, under a head of the task; None when none is named."""
    if name is None:
        return None
    outputs = getattr(teacher.model.config, "num_labels", None) if task.output != "vocabulary" else None
    return load_model(context.source(name), task.auto_class, num_labels=outputs, fresh_head=True)


def student_of(
    architecture: StudentArchitecture, teacher: Loaded, start: Loaded | None, name: str | None, tokens: StudentTokens,
    task: Task, context: Context,
) -> tuple[transformers.PreTrainedModel, dict[str, Any]]:  # fmt: skip
    """The student with its tokens, and what it inherited. name: what the recipe calls the start.

    Raises InputError for a start that is not of the student's shape.
    """
    torch.manual_seed(context.seed)
    built = architecture.build(tokens.source_of(teacher), getattr(transformers, task.auto_class))
    tokens.settle(built.model, built.inherited)
    if start is None:
        return built.model, built.inherited
    source = context.source(str(name))
    mine, theirs = architecture_facts(built.model), architecture_facts(start.model)
    if mine != theirs:  # heads too, which weights of equal shapes do not show
        raise InputError(f"{source}: is not of the student's shape (it is {theirs}, the student is {mine})")
    try:
        found = built.model.base_model.load_state_dict(start.model.base_model.state_dict(), strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{source}: is not of the student's shape ({reason}); give both the same options") from None
    strange = [*found.unexpected_keys, *(key for key in found.missing_keys if "pooler." not in key)]
    if strange:
        raise InputError(f"{source}: is not of the student's shape ({', '.join(strange[:3])} do not fit)")
    return built.model, {**built.inherited, "start": name}
