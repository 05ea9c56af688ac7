"""A model under another stock architecture that has the same layers: every layer and the head go over as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from compress.anatomy.base import Anatomy, anatomy_of
from compress.anatomy.blocks import names_of
from compress.anatomy.heads import head_parts
from compress.core.errors import InputError
from compress.core.family import stock_family
from compress.factorize.base import Factorized
from compress.shapes.low_rank import LowRankLinear
from compress.students.base import Given
from compress.students.inherit import inherit
from compress.students.inits.copy import Copy
from compress.students.narrowing import ROLES
from compress.students.shape import architecture_facts
from compress.train.facts import parameters
from compress.train.zeros import carry, marked

MATRICES = ("query", "key", "value", "attention_output", "ffn_in", "ffn_out")


def plain_anatomy(model: PreTrainedModel, method: str) -> Anatomy:
    """The anatomy of a model whose layers BERT, ELECTRA and ALBERT can hold.

    Raises InputError for other families, and for layers that were pruned or factorized out of that shape.
    """
    anatomy, family = anatomy_of(model), stock_family(model.config)
    if anatomy.scores_lack or not all(getattr(anatomy, role, "") for role in (*ROLES, "embedding_norm")):
        reason = f"attention has {anatomy.scores_lack}" if anatomy.scores_lack else "layers are of another kind"
        raise InputError(
            f"{method}: no stock architecture with factorized embeddings or shared layers holds a {family}, whose "
            f"{reason}; use `low_rank`, which stays in the family, or a BERT-like model"
        )
    _refuse_uneven(model, anatomy, method)
    return anatomy


def _refuse_uneven(model: PreTrainedModel, anatomy: Anatomy, method: str) -> None:
    width, ffn = anatomy.width(model), anatomy.ffn_width(model)
    wanted = {role: [width, width] for role in ("query", "key", "value", "attention_output")}
    wanted |= {"ffn_in": [ffn, width], "ffn_out": [width, ffn]}
    for number, layer in enumerate(anatomy.layer_list(model), 1):
        for role, shape in wanted.items():
            part = layer.get_submodule(getattr(anatomy, role))
            found = list(part.get_parameter("weight").shape)
            if found != shape or isinstance(part, LowRankLinear):
                came = "is low-rank" if isinstance(part, LowRankLinear) else f"has the shape {found}"
                raise InputError(
                    f"{method}: {role} of layer {number} {came}, and a stock architecture holds {shape} in every "
                    f"layer; do {method} first, and prune unevenly or use low_rank on what it gives"
                )


def rehoused(
    model: PreTrainedModel,
    auto_class: type[Any],
    config: PreTrainedConfig,
    sources: dict[int, Sequence[int]],
    counts: Tensor | None = None,
) -> Factorized:
    """A model of `config`, each layer (from 1) started from the mean of those that `sources` names.

    counts: `[v]`, how much each word's row counts in a factorization of the tables. Zeros of pruned weights stay
    marked where they go over as they are. Raises InputError when the result has no fewer parameters.
    """
    made: PreTrainedModel = auto_class.from_config(config)
    inherited = inherit(model, made, Copy(), sources, Given(counts=counts))
    before, after = parameters(model)["total"], parameters(made)["total"]
    if after >= before:
        raise InputError(
            f"nothing would shrink: the model has {before:,} parameters and would have {after:,} as "
            f"{made.config.model_type}; choose narrower tables, or fewer groups of layers"
        )
    lost = [*_lost(model, made, inherited), *_carry_zeros(model, made, sources)]
    return Factorized(
        made.train(False), {"family": made.config.model_type, "shape": architecture_facts(made), **inherited}, lost
    )


def has_dense_head(model: PreTrainedModel) -> bool:
    """Whether a dense layer with an activation stands before the classes of whole texts."""
    return type(model).__name__.endswith("ForSequenceClassification") and "dense" in head_parts(model)


def _lost(model: PreTrainedModel, made: PreTrainedModel, inherited: dict[str, Any]) -> list[str]:
    """What the other architecture changes besides what was cut."""
    lost = []
    one, two = anatomy_of(model).head_activation, anatomy_of(made).head_activation
    if has_dense_head(model) and one != two:
        lost.append(f"the head's {one} becomes the {two} of {made.config.model_type}'s head")
    if inherited["random"]:
        lost.append(f"{', '.join(inherited['random'])} of {made.config.model_type} start at random")
    return lost


def _carry_zeros(model: PreTrainedModel, made: PreTrainedModel, sources: dict[int, Sequence[int]]) -> list[str]:
    """Mark the matrices that have all zeros of those that they were made from; says when zeros were lost."""
    names = marked(model)
    if not names:
        return []
    before, after = _matrices(model), _matrices(made)
    kept: dict[str, bool] = {}
    for number, layer in enumerate(after, 1):
        for role, (name, weight) in layer.items():
            theirs = [before[source - 1][role] for source in sources[number]]
            same = all(own in names and not bool(weight[held == 0].any()) for own, held in theirs)
            kept[name] = kept.get(name, True) and same
    carry(model, made, [name for name, same in kept.items() if same])
    filled = sum(not same for same in kept.values())
    return [f"the zeros of pruned weights are filled in {filled} of {len(kept)} matrices"] if filled else []


def _matrices(model: PreTrainedModel) -> list[dict[str, tuple[str, Tensor]]]:
    """For every layer, as often as it runs: the name (from the base model down) and weights of each matrix by role."""
    anatomy, places, base = anatomy_of(model), names_of(model), model.base_model
    prefix = places[base] + "." if places[base] else ""
    found = []
    for layer in anatomy.layer_list(model):
        place = places[layer].removeprefix(prefix)
        parts = {role: f"{place}.{getattr(anatomy, role)}.weight" for role in MATRICES}
        found.append({role: (name, base.get_parameter(name).detach()) for role, name in parts.items()})
    return found
