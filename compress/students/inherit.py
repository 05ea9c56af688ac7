"""What a student takes from its teacher: embeddings, layers by map, head. Returns readable facts for the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.anatomy.heads import head_parts
from compress.core.errors import InputError
from compress.core.family import is_uneven, stock_family
from compress.core.layer_maps import LayerMap, layer_pairs
from compress.students.base import Given
from compress.students.embeddings import Tied, fill_embeddings
from compress.students.filling import Filling
from compress.students.inits.base import Init
from compress.students.narrowing import Narrowing, layer_weights, narrowed, narrowed_norm, selection, write_layer
from compress.students.shape import shape_of

KINDS = ("weight", "bias")
Sources = Mapping[int, Sequence[int]]


def mapped(init: Init, layer_map: LayerMap, layers: int, teacher: PreTrainedModel) -> Sources:
    """Student layer to the one teacher layer that it starts from, both from 1.

    Raises InputError unless every student layer is named once: one that is not would stay random, and 0 (the
    embeddings) would be Python's last layer.
    """
    pairs = layer_pairs(init.layers or layer_map, layers, anatomy_of(teacher).depth(teacher))
    if sorted(mine for mine, _ in pairs) != list(range(1, layers + 1)) or any(theirs < 1 for _, theirs in pairs):
        raise InputError(
            f"map: to start layers it names each of the student's layers 1 to {layers} once, with a teacher layer; "
            f"came {[list(pair) for pair in pairs]}"
        )
    return {mine: (theirs,) for mine, theirs in pairs}


@torch.no_grad()
def inherit(
    teacher: PreTrainedModel, student: PreTrainedModel, init: Init, sources: Sources, given: Given
) -> dict[str, Any]:
    """Start a student of any shape; sources say which teacher layers each of its layers is made from ({}: none).

    Raises InputError when the initialisation does not fit the shapes or the families.
    """
    facts: dict[str, Any] = {"init": init.registered_name}
    if init.registered_name != "random" and is_uneven(teacher.config):
        raise InputError(
            "the teacher's layers are of uneven shapes, from which no other shape starts; use `init: random`, or "
            "`checkpoint` with the teacher's folder, which takes it as it is"
        )
    kin = init.whole and _same_but_for_depth(teacher, student) and all(len(one) == 1 for one in sources.values())
    if sources:
        _refuse_relative(teacher, student, kin)
    with torch.enable_grad():  # some look at gradients
        narrowing = init.narrowing(teacher, shape_of(teacher), shape_of(student), given)
    if narrowing is None:
        return {**facts, "random": ["all weights"]}
    fill = Filling(student)
    if kin:
        facts |= _copy_kin(fill, teacher, student, sources)
    else:
        facts["embeddings"], tied = fill_embeddings(fill, teacher, student, narrowing)
        facts["layers"] = _fill_layers(fill, teacher, student, sources, narrowing)
        facts["head"] = _fill_head(fill, teacher, student, narrowing, tied)
    return facts | narrowing.facts | {"random": fill.left()}


def _same_but_for_depth(teacher: PreTrainedModel, student: PreTrainedModel) -> bool:
    one, two = shape_of(teacher), shape_of(student)
    return stock_family(teacher.config) == stock_family(student.config) and one.embedding == two.embedding


def _refuse_relative(teacher: PreTrainedModel, student: PreTrainedModel, whole: bool) -> None:
    for model in (teacher, student):
        lack = anatomy_of(model).scores_lack
        if lack and not whole:
            family = stock_family(model.config)
            raise InputError(
                f"the attention of {family} has {lack}, which other architectures and narrower layers cannot take over;"
                f" use `init: random`, or copy whole layers into a {family} student (`checkpoint` takes one as it is, "
                f"`tinybert` with the teacher's width and `init: copy` takes part of its layers)"
            )


def _copy_kin(fill: Filling, teacher: PreTrainedModel, student: PreTrainedModel, sources: Sources) -> dict[str, Any]:
    """Everything of a student of the teacher's own family and widths, by name."""
    one, two = anatomy_of(teacher).layer_list(teacher), anatomy_of(student).layer_list(student)
    for number, layer in enumerate(two, 1):
        held = dict(one[sources[number][0] - 1].named_parameters())
        for name, weight in layer.named_parameters():
            if not fill.written(weight):
                fill(weight, held[name])
    outside = dict(teacher.named_parameters())
    for name, weight in student.named_parameters():
        if not fill.written(weight) and name in outside and outside[name].shape == weight.shape:
            fill(weight, outside[name])
    return {"embeddings": ["all tables and norms"], "layers": _layer_facts(sources), "head": list(head_parts(student))}


def _fill_layers(
    fill: Filling, teacher: PreTrainedModel, student: PreTrainedModel, sources: Sources, narrowing: Narrowing
) -> dict[str, Any]:
    """Each stored layer once: one that several applications share starts from the first's sources."""
    done: set[int] = set()
    for number, layer in enumerate(anatomy_of(student).layer_list(student), 1):
        if id(layer) in done:
            continue
        done.add(id(layer))
        weights = layer_weights(teacher, sources[number])
        cut = narrowing.cut(weights, sources[number])
        write_layer(student, layer, narrowed(weights, narrowing, cut), fill)
    return _layer_facts(sources)


def _layer_facts(sources: Sources) -> dict[str, Any]:
    """`{"1": 2}`, and a list where a layer starts from the mean of several."""
    return {str(mine): theirs[0] if len(theirs) == 1 else list(theirs) for mine, theirs in sources.items()}


def _fill_head(
    fill: Filling, teacher: PreTrainedModel, student: PreTrainedModel, narrowing: Narrowing, tied: Tied | None
) -> list[str]:
    """The parts of the task head that both have; a masked-token head only where it meets the student's tables."""
    source, target = head_parts(teacher), head_parts(student)
    if "norm" in source:
        return _fill_mask_head(fill, teacher, student, narrowing, tied)
    done: list[str] = []
    if ("dense" in source) != ("dense" in target):
        return done
    weights, bias = (source["classes"].get_parameter(kind) if "classes" in source else None for kind in KINDS)
    read = narrowing.hidden
    if "dense" in target:
        dense = source["dense"].get_parameter("weight")
        units = narrowing.units(dense, torch.ones(1, len(dense)) if weights is None else weights)
        fill(target["dense"].get_parameter("weight"), dense[units] @ narrowing.hidden)
        fill(target["dense"].get_parameter("bias"), source["dense"].get_parameter("bias")[units])
        read = selection(units, len(dense)).T
        done.append("dense")
    if weights is not None and bias is not None and "classes" in target:
        fill(target["classes"].get_parameter("weight"), weights @ read)
        fill(target["classes"].get_parameter("bias"), bias)
        done.append("classes")
    return done


def _fill_mask_head(
    fill: Filling, teacher: PreTrainedModel, student: PreTrainedModel, narrowing: Narrowing, tied: Tied | None
) -> list[str]:
    source, target = head_parts(teacher), head_parts(student)
    done = []
    if tied is not None and "norm" in target and len(tied.space) == len(source["norm"].get_parameter("weight")):
        dense, norm = source["dense"], source["norm"]
        fill(target["dense"].get_parameter("weight"), tied.space.T @ dense.get_parameter("weight") @ narrowing.hidden)
        fill(target["dense"].get_parameter("bias"), dense.get_parameter("bias") @ tied.space)
        gain, shift = narrowed_norm(norm.get_parameter("weight"), norm.get_parameter("bias"), tied.space, tied.gain)
        fill(target["norm"].get_parameter("weight"), gain)
        fill(target["norm"].get_parameter("bias"), shift)
        done = ["dense", "norm"]
    theirs, mine = _mask_bias(teacher), _mask_bias(student)
    if theirs is not None and mine is not None and theirs.shape == mine.shape:
        fill(mine, theirs)
        done.append("vocabulary bias")
    return done


def _mask_bias(model: PreTrainedModel) -> Tensor | None:
    name = anatomy_of(model).mask_bias
    try:
        return model.get_parameter(name) if name else None
    except AttributeError:
        return None
