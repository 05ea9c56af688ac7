"""From a model whose parts were cut to one that saves and loads: the stock class where it can, else an uneven one."""

from __future__ import annotations

import copy
from collections import Counter

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from compress.core.errors import JobError
from compress.core.family import stock_family
from compress.shapes.config import UnevenConfig, stock_config, uneven_config
from compress.shapes.entry import Shapes, describe
from compress.shapes.models import stock_class, uneven_class

# Config numbers that every layer follows and nothing else does; T5's heads are free of its width.
_FFN = ("intermediate_size", "hidden_dim", "n_inner", "d_ff")
_TRIED = 2


def settle(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights as a model that `save_pretrained` and the Auto classes can keep apart from all others.

    Modules of the model may have been replaced by smaller ones of their kind or by LowRankLinear, the numbers that
    attention modules remember may have been set, and its config may have been changed (depth, width and vocabulary
    must have been, when they were cut; the width of the FFN is found out). Where the stock class has exactly these
    shapes, it is what comes back (the same object, if it was one already); otherwise an uneven class with its shapes in
    the config. The weights are the same tensors, not copies. Raises JobError for a model that neither can express.
    """
    kind = stock_class(model)
    config = stock_config(model.config)
    stock = _empty(kind, config)
    _renumber(model, stock)
    shapes = describe(model, stock)
    numbers = _fitting(model, kind, config, shapes) if shapes else {}
    even = _empty(kind, _with(config, numbers))
    if not describe(model, even):
        stock, shapes = even, {}
        if not isinstance(model.config, UnevenConfig):
            _write(model, numbers)
            return model
    if shapes:
        _check_tied(model, stock)
        stock = _empty(uneven_class(kind, stock_family(config)), uneven_config(config, shapes))
    _move(model, stock)
    return stock


def _empty(kind: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    """A model of these shapes that holds no numbers."""
    with torch.device("meta"):
        return kind(config)


def _renumber(model: PreTrainedModel, stock: PreTrainedModel) -> None:
    """Layers know their number, for caches; where some were taken out, the rest have moved."""
    names = dict(model.named_modules())
    for name, theirs in stock.named_modules():
        if hasattr(theirs, "layer_idx") and name in names:
            names[name].layer_idx = theirs.layer_idx


def _fitting(
    model: PreTrainedModel, kind: type[PreTrainedModel], config: PreTrainedConfig, shapes: Shapes
) -> dict[str, int]:
    """Config numbers with which fewer parts differ: a cut that is the same in all layers is stock.

    Whether it is, the architecture itself says: it is built with the sizes that most of the differing parts have.
    """
    found: dict[str, int] = {}
    for name in (*_FFN, *(("num_heads",) if hasattr(config, "d_kv") else ())):
        least = _parts(describe(model, _empty(kind, _with(config, found)))) if found else _parts(shapes)
        for value in _sizes(shapes, "heads" in name) if hasattr(config, name) else ():
            count = _parts(describe(model, _empty(kind, _with(config, {**found, name: value}))))
            if count < least:
                found, least = {**found, name: value}, count
    return found


def _with(config: PreTrainedConfig, numbers: dict[str, int]) -> PreTrainedConfig:
    made = copy.deepcopy(config)
    for name, value in numbers.items():
        setattr(made, name, value)
    return made


def _write(model: PreTrainedModel, numbers: dict[str, int]) -> None:
    """Into the model's config, and into the copies of it that some parts hold."""
    held = [model.config, *(part.config for part in model.modules() if isinstance(part, PreTrainedModel))]
    for config in {id(one): one for one in held}.values():
        for name, value in numbers.items():
            setattr(config, name, value)


def _parts(shapes: Shapes) -> int:
    """How many parts an entry lists."""
    kinds = [shapes.get(kind, {}) for kind in ("modules", "attributes")]
    return sum(map(len, kinds)) + (_parts(shapes["head"]) if "head" in shapes else 0)


def _sizes(shapes: Shapes, heads: bool) -> list[int]:
    """The most common sizes of the parts that an entry lists: features, or numbers of heads."""
    kind, names = ("attributes", {"n_heads"}) if heads else ("modules", {"out"})
    listed = [value for part in shapes.get(kind, {}).values() for name, value in part.items() if name in names]
    return [value for value, _ in Counter(listed).most_common(_TRIED)]


def _check_tied(model: PreTrainedModel, stock: PreTrainedModel) -> None:
    """Raises JobError for a tied matrix that became a product of two: tying it again would put the whole one back."""
    tied = stock.all_tied_weights_keys
    for name in [*tied, *tied.values()]:
        place = name.rpartition(".")[0]
        if hasattr(model.get_submodule(place), "rank"):
            raise JobError(f"{place}: shares its weights with another part, so it cannot be a product of two matrices")


def _move(source: PreTrainedModel, target: PreTrainedModel) -> None:
    """Put the source's own tensors into the target: what was shared stays shared, what was frozen stays frozen."""
    for name, module in target.named_modules():
        held = source.get_submodule(name)
        _check_same(name, held, module)
        module._parameters.update(held._parameters)
        module._buffers.update(held._buffers)
        module.training = held.training
    if source.can_generate():
        target.generation_config = source.generation_config
    target.name_or_path = source.name_or_path


def _check_same(name: str, held: nn.Module, module: nn.Module) -> None:
    """Raises JobError where a rebuilt module would not take what the model holds."""
    for mine, theirs in ((module._parameters, held._parameters), (module._buffers, held._buffers)):
        for kind in {*mine, *theirs}:
            one, two = mine.get(kind), theirs.get(kind)
            if (one is None) != (two is None) or (one is not None and two is not None and one.shape != two.shape):
                raise JobError(f"{name}.{kind}: would not come back as it is; it cannot be kept")
