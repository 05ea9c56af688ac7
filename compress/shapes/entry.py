"""The `shapes` of config.json: which parts differ from the stock architecture, and how.

    {"modules":    {"encoder.layer.0.attention.self.query": {"out": 256}, ...},
     "attributes": {"encoder.layer.0.attention.self": {"num_attention_heads": 8, "all_head_size": 256}, ...},
     "head":       {"class": "DistilBertForSequenceClassification", "modules": {"pre_classifier": {"rank": 16}}}}

Names start at the base model, so that one entry serves every head; what a head itself has of another size stands under
`head`, starts at the whole model, and counts for that class alone. An entry is data from a file: names and numbers are
checked, and nothing but the attributes listed here is ever set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from compress.core.errors import JobError
from compress.shapes.parts import check, difference, resized, size_of

Shapes = dict[str, Any]

# What modules remember of their size besides their weights. scaling is 1 / sqrt(width of a head).
COUNTS = frozenset({
    "num_attention_heads", "attention_head_size", "all_head_size", "num_heads", "n_heads", "head_dim", "dim",
    "inner_dim", "split_size", "embed_dim", "hidden_size", "key_value_proj_dim", "d_model",
})  # fmt: skip
NUMBERS = COUNTS | {"scaling"}
# What attentions call their number of heads, the width of one and the features of all.
HEADS = (
    ("num_attention_heads", "n_heads", "num_heads"),
    ("attention_head_size", "head_dim", "key_value_proj_dim"),
    ("all_head_size", "inner_dim", "split_size"),
)
# And the matrix that gives the features of heads; in the fused one stand queries, keys and values side by side.
FUSED = "c_attn"
QUERIES = ("query", "query_proj", "q_lin", "q", "q_attn", FUSED)
# Parts of a base model that some of its heads do without.
OPTIONAL = frozenset({"pooler", "decoder", "lm_head"})


def describe(model: PreTrainedModel, stock: PreTrainedModel) -> Shapes:
    """What differs between a model and one of the stock class; {} for nothing.

    Raises JobError for a difference that an entry cannot hold.
    """
    _same_names(model, stock)
    prefix = _prefix(model)
    body: Shapes = {"modules": {}, "attributes": {}}
    head: Shapes = {"modules": {}, "attributes": {}}
    for name, theirs in stock.named_modules():
        mine = model.get_submodule(name)
        inside = name == prefix.rstrip(".") or name.startswith(prefix)
        part, short = (body, name.removeprefix(prefix)) if inside else (head, name)
        if name and name == prefix.rstrip("."):
            short = ""
        for kind, found in (("modules", _size(name, mine, theirs)), ("attributes", _numbers(name, mine, theirs))):
            if found:
                part[kind][short] = found
    entry = {kind: found for kind, found in body.items() if found}
    if any(head.values()):
        entry["head"] = {"class": type(stock).__name__, **{kind: found for kind, found in head.items() if found}}
    return entry


def apply(model: PreTrainedModel, shapes: Any, stock_class: str) -> None:
    """Give a model of the stock shapes those of an entry, its new weights not yet set.

    Raises ValueError for an entry that does not fit the architecture.
    """
    if not isinstance(shapes, dict) or not shapes or not set(shapes) <= {"modules", "attributes", "head"}:
        raise _wrong("shapes", f"expected modules, attributes and head, came {str(shapes)[:80]}")
    _apply(model.base_model, shapes, OPTIONAL, "shapes")
    _check_heads(model.base_model)
    head = shapes.get("head", {})
    if not isinstance(head, dict) or not set(head) <= {"class", "modules", "attributes"}:
        raise _wrong("shapes.head", f"expected class, modules and attributes, came {str(head)[:80]}")
    if head.get("class") == stock_class:
        _apply(model, head, frozenset(), "shapes.head")


def _prefix(model: PreTrainedModel) -> str:
    """What the names of the base model's parts start with: nothing where the model is one."""
    return "" if model.base_model is model else f"{model.base_model_prefix}."


def _same_names(model: PreTrainedModel, stock: PreTrainedModel) -> None:
    """Raises JobError unless both have the same parts."""
    mine, theirs = ({name for name, _ in one.named_modules()} for one in (model, stock))
    only = [f"only the model has {name}" for name in sorted(mine - theirs)]
    only += [f"the model lacks {name}" for name in sorted(theirs - mine)]
    if only:
        raise JobError(
            f"the model is no {type(stock).__name__} of its config ({'; '.join(only[:3])}); set the number of "
            f"layers in its config, and replace modules by modules of the same name"
        )


def _size(name: str, mine: nn.Module, theirs: nn.Module) -> dict[str, int]:
    try:
        if size_of(theirs) is not None:
            return difference(mine, theirs)
        if name and type(mine) is not type(theirs):  # the whole model may be an uneven one that was cut again
            raise ValueError(f"is a {type(mine).__name__} where the architecture has a {type(theirs).__name__}")
        for kind, held in theirs.named_parameters(recurse=False):
            came = mine.get_parameter(kind)
            if came.shape != held.shape:
                raise ValueError(f"has {kind} {list(came.shape)} where the config says {list(held.shape)}")
    except (ValueError, AttributeError) as error:
        raise JobError(f"{name}: {error}, which no folder can express") from error
    return {}


def _numbers(name: str, mine: nn.Module, theirs: nn.Module) -> dict[str, int | float]:
    """Remembered numbers that differ. Raises JobError for one that may not be set from a file."""
    if size_of(theirs) is not None:
        return {}
    found = {}
    for key, value in vars(theirs).items():
        came = vars(mine).get(key)
        if not (type(value) is int or key in NUMBERS) or came == value:  # a dropout may be off for now
            continue
        if key not in NUMBERS or came is None:
            raise JobError(f"{name}: has {key} {came} where its config gives {value}, which no folder can express")
        found[key] = came
    return found


def _apply(root: nn.Module, entry: Mapping[str, Any], optional: frozenset[str], place: str) -> None:
    parts = dict(root.named_modules(remove_duplicate=False))
    for name, size in _items(entry, "modules", place):
        held = _part(parts, name, optional, f"{place}.modules")
        if held is None:
            continue
        try:
            made = resized(held, size)
        except ValueError as error:
            raise _wrong(f"{place}.modules.{name}", str(error)) from error
        parent, _, leaf = name.rpartition(".")
        setattr(parts[parent], leaf, made.train(held.training))
    for name, numbers in _items(entry, "attributes", place):
        held = _part(parts, name, optional, f"{place}.attributes")
        for key, value in numbers.items() if held is not None else ():
            _check_number(held, key, value, f"{place}.attributes.{name}.{key}")
            setattr(held, key, value)


def _items(entry: Mapping[str, Any], kind: str, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    found = entry.get(kind, {})
    if not isinstance(found, dict):
        raise _wrong(f"{place}.{kind}", f"expected names with numbers, came {str(found)[:80]}")
    for name, values in found.items():
        if not isinstance(values, dict):
            raise _wrong(f"{place}.{kind}.{name}", f"expected numbers by name, came {str(values)[:80]}")
        yield name, values


def _part(parts: Mapping[str, nn.Module], name: str, optional: frozenset[str], place: str) -> nn.Module | None:
    """The part of that name; None where this head does without it. Raises ValueError for an unknown name."""
    found, first = parts.get(name), name.partition(".")[0]
    if found is None and (first not in optional or first in parts):
        raise _wrong(f"{place}.{name}", f"a {type(parts['']).__name__} has no such part")
    return found


def _check_number(held: nn.Module | None, key: str, value: Any, place: str) -> None:
    if key not in NUMBERS or not isinstance(vars(held).get(key), int | float):
        raise _wrong(place, f"may not be set on a {type(held).__name__}")
    try:
        if key in COUNTS:
            check(key, value)
        elif type(value) is not float or not (math.isfinite(value) and value > 0):
            raise ValueError(f"expected a number over 0, came {value!r:.40}")
    except ValueError as error:
        raise _wrong(place, str(error)) from error


def _check_heads(root: nn.Module) -> None:
    """Raises ValueError where heads times their width is not what an attention's queries give.

    Its outputs would be those of other heads, or the error one of torch.
    """
    for name, part in root.named_modules():
        held, children = vars(part), dict(part.named_children())
        heads, width, features = (next((held[key] for key in keys if key in held), None) for keys in HEADS)
        query = next((one for one in QUERIES if one in children), None)
        size = size_of(children[query]) if query is not None else None
        if query is None or size is None or heads is None or width is None:
            continue
        rows = size["out"] // (3 if query == FUSED else 1)
        if heads * width != rows or features not in (None, rows):
            told = f"{heads} heads of width {width}" + ("" if features is None else f", {features} in all")
            raise _wrong(f"shapes.attributes.{name}", f"{query} gives {rows} features, and the numbers say {told}")


def _wrong(place: str, why: str) -> ValueError:
    return ValueError(f"config.json: {place}: {why}; copy the folder again, or run its step again")
