"""Narrower embedding tables inside a family whose own class holds them: DeBERTa-v2 and v3.

Its projection stands before the norm of the embeddings. So nothing is lost but what is cut, which for the other
families (a norm in the narrow space, then the projection) is true of no width.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.base import Anatomy, anatomy_of
from compress.core.errors import InputError
from compress.core.family import stock_family
from compress.factorize.base import Factorized
from compress.students.embeddings import AT_ONCE, Tables, table_moments
from compress.students.shape import architecture_facts
from compress.students.spectrum import centred, principal


def own_anatomy(model: PreTrainedModel) -> Anatomy | None:
    """The anatomy of a model whose own class holds narrow tables; None for all others.

    Raises InputError for a head that reads the word table itself.
    """
    anatomy = anatomy_of(model)
    if not anatomy.hidden_projection:
        return None
    if type(model).__name__.endswith("ForMaskedLM"):
        raise InputError(
            f"embedding_svd: the masked-token head of a {stock_family(model.config)} multiplies states with the word "
            f"table; factorize the model with a head for its task, or use `low_rank`"
        )
    return anatomy


def hidden_tables(model: PreTrainedModel) -> Tables:
    """The tables in the hidden space, multiplied out where they are narrow; of no positions a single row of zeros."""
    anatomy, held = anatomy_of(model), dict(model.base_model.named_parameters())
    outer = held.get(f"{anatomy.hidden_projection}.weight")

    def wide(name: str) -> Tensor | None:
        table = held.get(f"{name}.weight")
        return table if table is None or outer is None else table @ outer.T

    words, positions = wide(anatomy.word_embeddings), wide(anatomy.position_embeddings)
    assert words is not None, "every model has a table of words"
    gain, shift = (held[f"{anatomy.embedding_norm}.{kind}"] for kind in ("weight", "bias"))
    places = torch.zeros(1, words.shape[1]) if positions is None else positions
    return Tables(words, places, wide(anatomy.token_type_embeddings), gain, shift)


def kept_behind(tables: Tables, counts: Tensor | None) -> Tensor:
    """`[d]`: the share of their energy that tables of width 1, 2, ... d keep, float64.

    The norm takes the mean of a state out behind the projection, so that no width is spent on it.
    """
    sizes = torch.linalg.eigvalsh(table_moments(tables, counts)).clamp(min=0).flip(0)
    found: Tensor = sizes.cumsum(0) / sizes.sum().clamp(min=torch.finfo(torch.float64).tiny)
    return found.clamp(max=1)


@torch.no_grad()
def narrowed_inside(model: PreTrainedModel, tables: Tables, width: int, counts: Tensor | None) -> Factorized:
    """The model of its own class with tables of this width, all else as it is.

    tables: those of `hidden_tables`. What the norm reads is the best of its rank, its mean left out.
    """
    anatomy = anatomy_of(model)
    space = principal(table_moments(tables, counts), width).columns
    config = copy.deepcopy(model.config)
    config.embedding_size = width
    made: PreTrainedModel = type(model)(config)
    made.set_attn_implementation(model.config._attn_implementation)
    narrow = {anatomy.word_embeddings: tables.words, anatomy.position_embeddings: tables.positions,
              anatomy.token_type_embeddings: tables.types}  # fmt: skip
    values = {name: _in_space(table, space) for name, table in narrow.items() if table is not None}
    values[anatomy.hidden_projection] = space.float()
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    held = model.state_dict() | {f"{prefix}{name}.weight": value for name, value in values.items()}
    made.load_state_dict({name: held[name] for name in made.state_dict()})
    facts = {"family": stock_family(config), "shape": architecture_facts(made), "random": []}
    return Factorized(made.train(False), facts)


def _in_space(table: Tensor, space: Tensor) -> Tensor:
    """Centred rows in a space `[d, e]`, float32."""
    return torch.cat([(centred(rows) @ space).float() for rows in torch.split(table, AT_ONCE)])
