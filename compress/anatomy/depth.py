"""Which layer a weight belongs to, for learning rates that differ by layer."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of


def depth_of_weights(model: PreTrainedModel, inside: nn.Module | None = None) -> Callable[[str], int | None]:
    """A function from a parameter's name to its depth in `model`; names are those of `inside`, a module that holds it.

    0: embeddings and whatever else of the body stands in no layer; 1 and up: the layers; None: heads, poolers and what
    is not of the model. A weight that layers share counts to the lowest. Raises InputError for an unknown family.
    """
    anatomy = anatomy_of(model)
    body = {id(value): 0 for value in model.base_model.parameters()}
    for name, value in model.base_model.named_parameters():
        if name.split(".")[0] == (anatomy.pooler or "pooler").split(".")[0]:
            del body[id(value)]
    for depth, layer in reversed(list(enumerate(anatomy.layer_list(model), start=1))):
        body |= {id(value): depth for value in layer.parameters()}
    depths = {name: body.get(id(value)) for name, value in (inside or model).named_parameters()}
    return depths.get
