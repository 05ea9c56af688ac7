"""How large the weights are."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of, structure_of
from compress.anatomy.blocks import FfnBlock
from compress.importance.base import IMPORTANCES, Evidence, Importance, Scores
from compress.importance.matrices import HeadMatrices, head_matrices, matrix, matrix_names, over_layers

Norm = Literal["l1", "l2"]


@IMPORTANCES.register("magnitude")
class Magnitude(Importance):
    """From the weights alone (Han et al. 2015, arXiv 1506.02626; structures as in Li et al. 2017, arXiv 1608.08710).

    A head counts |V| |O| + |Q| |K|, with its own rows or columns of the four matrices: what it can write, and how
    sharply it can choose. A neuron counts its row times the column that it writes through; where a second matrix gates
    it, the geometric mean of its two rows. A hidden unit counts the share of the norms' gains and shifts that is its
    own, since states are what norms let through. A layer counts the sum over its heads and neurons, a weight its size.
    """

    one_unit: ClassVar[bool] = False
    parts: ClassVar[frozenset[str]] = frozenset({"heads", "neurons", "hidden", "layers", "weights"})
    paper: ClassVar[str] = "Han et al. 2015, arXiv 1506.02626; Li et al. 2017, arXiv 1608.08710"

    norm: Norm = Field("l2", description="size of a row or column: sum of absolute values, or Euclidean length")

    def score(self, model: PreTrainedModel, wanted: frozenset[str], evidence: Evidence) -> Scores:
        """Needs no texts. Raises InputError for hidden units of a family without an anatomy."""
        self.check(wanted, evidence)
        structure = structure_of(model)
        heads = {
            block.name: size_of_heads(head_matrices(model, block), block.heads, self.norm).float().cpu()
            for block in structure.attention_blocks(model)
        }
        neurons = {block.name: _of_block(model, block, self.norm) for block in structure.ffn_blocks(model)}
        found = Scores(heads if "heads" in wanted else {}, neurons if "neurons" in wanted else {})
        if "layers" in wanted:
            found.layers = over_layers(model, [*heads.items(), *neurons.items()])
        if "hidden" in wanted:
            found.hidden = _of_units(model, self.norm)
        if "weights" in wanted:
            names = [f"{name}.weight" for name in matrix_names(model)]
            found.weights = {name: model.get_parameter(name).detach().abs().float().cpu() for name in names}
        return found


def size_of_heads(matrices: HeadMatrices, heads: int, norm: Norm = "l2") -> Tensor:
    """`[h]`: size of a head's value matrix times that of its output matrix, and of its query times its key."""

    def sizes(rows: Tensor) -> Tensor:
        return _length(rows.reshape(heads, -1), norm)

    written = sizes(matrices.value) * sizes(matrices.output.T)
    return written + sizes(matrices.query) * sizes(matrices.key)


def size_of_neurons(rows: Tensor, columns: Tensor, norm: Norm = "l2") -> Tensor:
    """`[f]`: length of a neuron's row of `[f, d]` times the length of the column of `[d, f]` that it writes through."""
    return _length(rows, norm) * _length(columns.T, norm)


def _of_block(model: PreTrainedModel, block: FfnBlock, norm: Norm) -> Tensor:
    columns = matrix(model, block.output)
    sizes = [size_of_neurons(matrix(model, name), columns, norm) for name in block.inputs]
    return torch.stack(sizes).log().mean(0).exp().float().cpu() if len(sizes) > 1 else sizes[0].float().cpu()


def _of_units(model: PreTrainedModel, norm: Norm) -> Tensor:
    """Normalised states have the size 1 on average. Matrices tell less: theirs are large where states are small."""
    anatomy = anatomy_of(model)
    total = torch.zeros(anatomy.width(model))
    for layer in anatomy.layer_list(model):
        for part in (anatomy.attention_norm, anatomy.ffn_norm):
            gain, shift = (layer.get_parameter(f"{part}.{kind}").detach().float().cpu() for kind in ("weight", "bias"))
            total += share(gain.square() + shift.square() if norm == "l2" else gain.abs() + shift.abs())
    return total


def _length(rows: Tensor, norm: Norm) -> Tensor:
    found: Tensor = torch.linalg.vector_norm(rows, ord=1 if norm == "l1" else 2, dim=1)
    return found


def share(values: Tensor) -> Tensor:
    """Values as shares of their sum."""
    return values / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
