"""The student of a distillation: built from its teacher, or taken up from a model of an earlier stage."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from compress.core.errors import InputError
from compress.distill.checks import check_vocabulary
from compress.distill.tokens import StudentTokens, tokens_of
from compress.steps.base import Context
from compress.students.base import Built, Given, StudentArchitecture
from compress.students.shape import architecture_facts
from compress.tasks.base import Task
from compress.train.folder import Loaded, load_model
from compress.train.zeros import carry, marked


def start_of(name: str | None, teacher: Loaded, task: Task, context: Context) -> Loaded | None:
    """The model that the student's body starts from, under a head of the task; None when none is named."""
    if name is None:
        return None
    headless = task.output in ("vocabulary", "vector")
    outputs = None if headless else getattr(teacher.model.config, "num_labels", None)
    return load_model(context.source(name), task.auto_class, num_labels=outputs, fresh_head=True)


def student_of(
    architecture: StudentArchitecture, teacher: Loaded, start: Loaded | None, name: str | None, tokens: StudentTokens,
    task: Task, given: Given, context: Context,
) -> tuple[transformers.PreTrainedModel, dict[str, Any], StudentTokens]:  # fmt: skip
    """The student, what it inherited, and its tokens, which a checkpoint brings along. name: what the start is called.

    Raises InputError for a start that is not of the student's shape.
    """
    torch.manual_seed(context.seed)
    built = architecture.build(tokens.source_of(teacher), getattr(transformers, task.auto_class), given)
    if built.tokenizer is not None:
        tokens = _brought(built, tokens, teacher)
        if start is not None:
            check_vocabulary(start.tokenizer, tokens.tokenizer, context.source(str(name)))
    tokens.settle(built.model, built.inherited)
    if start is None:
        return built.model, built.inherited, tokens
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
    carry(start.model, built.model, marked(start.model))
    return built.model, {**built.inherited, "start": name}, tokens


def _brought(built: Built, tokens: StudentTokens, teacher: Loaded) -> StudentTokens:
    """The tokens of a student that was a model before. Raises InputError when another tokenizer was asked for."""
    if tokens.own:
        check_vocabulary(built.tokenizer, tokens.tokenizer, built.tokenizer_source)
        return tokens
    return tokens_of(built.tokenizer, built.tokenizer_source, teacher)
