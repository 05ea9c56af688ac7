"""Every place of an encoder where its hidden axis occurs, by name: what is cut together when the width is cut."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn
from transformers import PreTrainedModel

from compress.anatomy.base import Anatomy
from compress.anatomy.blocks import names_of, stored_layers
from compress.anatomy.heads import head_parts
from compress.core.errors import InputError


@dataclass
class HiddenSpace:
    """Dotted names from the model down.

    gives: matrices and tables whose outputs are hidden units; reads: matrices that read them; norms: over them. raw:
    those of `gives` that no norm need follow before something reads them. dense: the head's layer before its classes,
    whose own units are as many as hidden ones, "" for none; classes: what reads those, "" for nothing.
    """

    gives: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    norms: list[str] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    dense: str = ""
    classes: str = ""


def hidden_space(model: PreTrainedModel, anatomy: Anatomy) -> HiddenSpace:
    """The places of one encoder with its head. Raises InputError for a head that it does not know."""
    space = HiddenSpace()
    _embeddings(space, model, anatomy)
    names = names_of(model)
    for layer in stored_layers(anatomy.layer_list(model)):
        held = dict(layer.named_modules())
        for found, parts in (
            (space.reads, (anatomy.query, anatomy.key, anatomy.value, *anatomy.beside, anatomy.ffn_in)),
            (space.gives, (anatomy.attention_output, anatomy.ffn_out)),
            (space.norms, (anatomy.attention_norm, anatomy.ffn_norm)),
        ):
            found.extend(f"{names[layer]}.{part}" for part in parts if part in held)
    _beside_layers(space, model, anatomy)
    _head(space, model, anatomy)
    return space


def _embeddings(space: HiddenSpace, model: PreTrainedModel, anatomy: Anatomy) -> None:
    """Tables and their norm, unless they are of a narrower space of their own, which stays as it is."""
    tables = (anatomy.word_embeddings, anatomy.position_embeddings, anatomy.token_type_embeddings)
    projections = _present(model, (anatomy.embedding_projection, anatomy.hidden_projection))
    space.gives += projections or _present(model, tables)
    if anatomy.embedding_projection and projections:
        space.raw += projections
    else:
        space.norms += _present(model, (anatomy.embedding_norm,))


def _beside_layers(space: HiddenSpace, model: PreTrainedModel, anatomy: Anatomy) -> None:
    tables, mixes = _present(model, anatomy.hidden_tables), _present(model, anatomy.hidden_mixes)
    space.gives += [*tables, *mixes]
    space.raw += tables
    space.reads += mixes
    space.norms += _present(model, anatomy.hidden_norms)


def _head(space: HiddenSpace, model: PreTrainedModel, anatomy: Anatomy) -> None:
    names, parts = names_of(model), head_parts(model)
    dense, classes = (names[parts[role]] if role in parts else "" for role in ("dense", "classes"))
    base, narrow = names[model.base_model], set()
    if "norm" in parts:  # a masked-token head: what it gives meets the embedding tables
        space.reads.append(dense)
        norm, decoder = names[parts["norm"]], names[model.get_output_embeddings()]  # type: ignore[no-untyped-call]
        if anatomy.factorized(model):
            narrow = {norm, decoder}
        else:
            space.gives.append(dense)
            space.norms.append(norm)
            space.reads.append(decoder)
    elif dense:
        space.dense, space.classes = dense, classes
    elif classes:
        space.reads.append(classes)
    pooler = next((name for name in ("pooler.dense", "pooler") if _linear(model.base_model, name)), "")
    pooler = ".".join(part for part in (base, pooler) if part) if pooler else ""
    if pooler and pooler != space.dense:
        if space.dense:
            raise InputError(f"the model has two layers before its classes, {pooler} and {space.dense}; expected one")
        space.dense = pooler
    _refuse_unknown(space, model, base, narrow)


def _refuse_unknown(space: HiddenSpace, model: PreTrainedModel, base: str, narrow: set[str]) -> None:
    """Every matrix of the head must have been found: a head of another kind would be left too wide."""
    width = int(model.config.hidden_size)
    known = {*space.reads, *space.gives, *space.norms, space.dense, space.classes, *narrow}
    for name, part in model.named_modules():
        inside = part is model.base_model or not base or name.startswith(f"{base}.")
        if inside or name in known or not isinstance(part, nn.Linear | nn.LayerNorm):
            continue
        if width in part.get_parameter("weight").shape:
            raise InputError(
                f"the width of {type(model).__name__} cannot be cut: nothing is known of its {name}; expected a "
                f"model with a head for classes, tags, answers or masked tokens, or none"
            )


def _linear(module: nn.Module, name: str) -> bool:
    return isinstance(dict(module.named_modules()).get(name), nn.Linear)


def _present(model: PreTrainedModel, parts: tuple[str, ...]) -> list[str]:
    """Full names of those parts, named from the base model, that the model has."""
    names, held = names_of(model), dict(model.base_model.named_modules())
    return [names[held[part]] for part in parts if part and part in held]
