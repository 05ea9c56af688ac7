"""Copying what a student inherits from its teacher: embeddings, layers by map, head.

Every function returns readable facts for the manifest and works without gradients. Matrices that are smaller in the
student take the leading rows and columns of the teacher's (`truncated`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.anatomy.heads import head_parts
from compress.core.errors import InputError


@torch.no_grad()
def copy_embeddings(teacher: PreTrainedModel, student: PreTrainedModel) -> list[str]:
    """Word and position embeddings and their norm.

    Where the student has no token types, the teacher's type 0 is added to its positions: the sum of embeddings of a
    single text stays what it was, which dropping the type (as DistilBERT did) does not keep. Positions that start at
    an offset (RoBERTa) move to where the student's start.
    """
    one, two = anatomy_of(teacher), anatomy_of(student)
    source, target = teacher.base_model, student.base_model
    _lead(_weight(source, one.word_embeddings), _weight(target, two.word_embeddings))
    positions = _weight(source, one.position_embeddings)[one.position_offset :].clone()
    done = ["word embeddings", "position embeddings", "embedding norm"]
    if one.token_type_embeddings and two.token_type_embeddings:
        _lead(_weight(source, one.token_type_embeddings), _weight(target, two.token_type_embeddings))
        done.append("token types")
    elif one.token_type_embeddings:
        positions += _weight(source, one.token_type_embeddings)[0]
        done.append("token type 0, added to the positions")
    _lead(positions, _weight(target, two.position_embeddings)[two.position_offset :])
    _copy_module(source.get_submodule(one.embedding_norm), target.get_submodule(two.embedding_norm))
    return done


@torch.no_grad()
def copy_layers(teacher: PreTrainedModel, student: PreTrainedModel, pairs: Sequence[tuple[int, int]]) -> dict[str, int]:
    """Layers by (student, teacher) pairs, both from 1. Returns `{"1": 2, ...}`.

    Raises InputError unless every student layer is named once: one that is not would stay random, and 0 (the
    embeddings) would be Python's last layer.
    """
    one, two = anatomy_of(teacher), anatomy_of(student)
    depth = two.depth(student)
    if sorted(mine for mine, _ in pairs) != list(range(1, depth + 1)) or any(theirs < 1 for _, theirs in pairs):
        raise InputError(
            f"map: to copy layers it names each of the student's layers 1 to {depth} once, with a teacher layer; "
            f"came {[list(pair) for pair in pairs]}"
        )
    for mine, theirs in pairs:
        source, target = one.layer_list(teacher)[theirs - 1], two.layer_list(student)[mine - 1]
        for theirs_name, my_name in zip(one.layer_parts(), two.layer_parts(), strict=True):
            _copy_module(source.get_submodule(theirs_name), target.get_submodule(my_name))
    return {str(mine): theirs for mine, theirs in pairs}


@torch.no_grad()
def copy_head(teacher: PreTrainedModel, student: PreTrainedModel) -> list[str]:
    """The parts of the task head that both have; a masked-token bias over the same vocabulary too."""
    source, target = head_parts(teacher), head_parts(student)
    shared = [role for role in target if role in source]
    for role in shared:
        _copy_module(source[role], target[role])
    theirs, mine = _mask_bias(teacher), _mask_bias(student)
    if theirs is not None and mine is not None and theirs.shape == mine.shape:
        mine.copy_(theirs)
        shared.append("vocabulary bias")
    return shared


def refuse_wider(teacher: PreTrainedModel, student: PreTrainedModel) -> None:
    """Raises InputError when a student that should take part of each matrix is larger than its teacher."""
    one, two = anatomy_of(teacher), anatomy_of(student)
    for what, theirs, mine in (
        ("width", one.width(teacher), two.width(student)),
        ("ffn", one.ffn_width(teacher), two.ffn_width(student)),
    ):
        if mine > theirs:
            raise InputError(
                f"{what}: {mine} is more than the teacher's {theirs}, so there is nothing to cut it from; "
                f"use `init: random` or at most {theirs}"
            )


def architecture_facts(student: PreTrainedModel) -> dict[str, Any]:
    """Shape of the student, in the words of recipes."""
    anatomy = anatomy_of(student)
    return {
        "layers": anatomy.depth(student),
        "width": anatomy.width(student),
        "heads": anatomy.heads(student),
        "ffn": anatomy.ffn_width(student),
    }


def _copy_module(source: nn.Module, target: nn.Module) -> None:
    held = dict(source.named_parameters())
    for name, parameter in target.named_parameters():
        _lead(held[name], parameter)


def _lead(source: Tensor, target: Tensor) -> None:
    """Fill `target` with the leading part of `source` along every axis that is shorter."""
    cut = source[tuple(slice(0, size) for size in target.shape)]
    if cut.shape != target.shape:
        raise InputError(f"a weight of shape {list(source.shape)} cannot fill one of shape {list(target.shape)}")
    target.data.copy_(cut)


def _weight(model: nn.Module, name: str) -> Tensor:
    return model.get_parameter(f"{name}.weight")


def _mask_bias(model: PreTrainedModel) -> Tensor | None:
    name = anatomy_of(model).mask_bias
    try:
        return model.get_parameter(name) if name else None
    except AttributeError:
        return None
