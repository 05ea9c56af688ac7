"""The matrices of a model's blocks, `[out, in]` and by head, however a family stores them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from compress.anatomy.base import structure_of
from compress.anatomy.blocks import AttentionBlock, stored_layers


@dataclass(frozen=True)
class HeadMatrices:
    """query, key, value: `[h * e, d]`; output: `[d, h * e]`."""

    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor


def matrix(model: PreTrainedModel, name: str) -> Tensor:
    """The weights `[out, in]` of a named matrix; GPT-2's Conv1D stores them turned."""
    part = model.get_submodule(name)
    weight = part.get_parameter("weight").detach()
    return weight.T if isinstance(part, Conv1D) else weight


def like_stored(model: PreTrainedModel, name: str, scores: Tensor) -> Tensor:
    """Scores `[out, in]` of a named matrix, turned where its class stores it so."""
    return scores.T.contiguous() if isinstance(model.get_submodule(name), Conv1D) else scores


def head_matrices(model: PreTrainedModel, block: AttentionBlock) -> HeadMatrices:
    """The four matrices of an attention, taken apart where the first three are stored as one."""
    if block.fused:
        query, key, value = matrix(model, block.inputs[0]).chunk(3)
    else:
        query, key, value = (matrix(model, name) for name in block.inputs)
    return HeadMatrices(query, key, value, matrix(model, block.output))


def matrix_names(model: PreTrainedModel) -> list[str]:
    """Every matrix of the attentions and feed-forwards, by layer; embeddings, norms and heads of tasks are none."""
    structure = structure_of(model)
    names = [
        name for block in structure.attention_blocks(model) for name in (*block.inputs, *block.beside, block.output)
    ]
    names += [name for block in structure.ffn_blocks(model) for name in (*block.inputs, block.output)]
    return list(dict.fromkeys(names))


def layer_count(model: PreTrainedModel) -> int:
    """Number of stored layers."""
    return len(stored_layers(structure_of(model).layer_list(model)))


def over_layers(model: PreTrainedModel, effects: Iterable[tuple[str, Tensor]]) -> Tensor:
    """`[..., L]`: what the parts of every layer sum to. effects: a block's name with `[..., parts]`."""
    structure = structure_of(model)
    blocks = (*structure.attention_blocks(model), *structure.ffn_blocks(model))
    places = {block.name: block.layer - 1 for block in blocks}
    sums = [torch.zeros(())] * layer_count(model)
    for name, effect in effects:
        sums[places[name]] = sums[places[name]] + effect.sum(-1)
    most = torch.broadcast_tensors(*sums)
    return torch.stack(most, dim=-1)
