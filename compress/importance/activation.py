"""What a part adds on training texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.importance.base import IMPORTANCES, Evidence, Importance, Scores
from compress.importance.magnitude import share
from compress.importance.matrices import like_stored, matrix, matrix_names
from compress.importance.running import watch, watch_states
from compress.importance.tally import Tally


@IMPORTANCES.register("activation")
class Activation(Importance):
    """Activations and weights together, without labels, after Wanda (Sun et al. 2023, arXiv 2306.11695).

    A weight counts |W_ij| times the root mean square of its input x_j. A head or neuron counts the mean square of what
    it adds to the state of a real token: |W_h x_h|^2 and |w_j|^2 x_j^2. A hidden unit counts its share of the energy of
    every state.
    """

    parts: ClassVar[frozenset[str]] = frozenset({"heads", "neurons", "hidden", "weights"})
    reads: ClassVar[str] = "texts"
    paper: ClassVar[str] = "Sun et al. 2023, arXiv 2306.11695"

    def score(self, model: PreTrainedModel, wanted: frozenset[str], evidence: Evidence) -> Scores:
        """Raises InputError without texts."""
        self.check(wanted, evidence)
        effects = _effects(model, wanted)
        means = Tally()
        if effects:
            watch(model, evidence.batches, list(effects), lambda name, rows: means.add(name, effects[name](rows)))
        found, structure = Scores(), structure_of(model)
        if "heads" in wanted:
            for block in structure.attention_blocks(model):
                found.heads[block.name] = means.mean(block.name)[-block.heads :]
        if "neurons" in wanted:
            for feed in structure.ffn_blocks(model):
                found.neurons[feed.name] = means.mean(feed.name)[-feed.neurons :]
        if "weights" in wanted:
            for name in matrix_names(model):
                weight = matrix(model, name).abs().float().cpu()
                size = weight * means.mean(name)[: weight.shape[1]].sqrt()
                found.weights[f"{name}.weight"] = like_stored(model, name, size)
        if "hidden" in wanted:
            states = Tally()
            watch_states(model, evidence.batches, lambda number, rows: states.add(str(number), rows.float().square()))
            found.hidden = torch.stack([share(states.mean(name)) for name in states.names()]).sum(0)
        return found


def _effects(model: PreTrainedModel, wanted: frozenset[str]) -> dict[str, Callable[[Tensor], Tensor]]:
    """By the name of a matrix, what is summed over the rows `[n, i]` that it reads.

    `[n, i]` squares of the inputs where weights are wanted, then `[n, parts]` of what its heads or neurons add.
    """
    structure, effects = structure_of(model), dict[str, Callable[[Tensor], Tensor]]()
    squares = "weights" in wanted
    if squares:
        effects = dict.fromkeys(matrix_names(model), torch.square)
    if "heads" in wanted:
        for block in structure.attention_blocks(model):
            effects[block.name] = _beside(squares, _of_heads(matrix(model, block.name).float(), block.heads))
    if "neurons" in wanted:
        for feed in structure.ffn_blocks(model):
            effects[feed.name] = _beside(squares, _of_neurons(matrix(model, feed.name).float()))
    return effects


def _beside(squares: bool, effect: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return (lambda rows: torch.cat([rows.square(), effect(rows)], dim=1)) if squares else effect


def _of_heads(output: Tensor, heads: int) -> Callable[[Tensor], Tensor]:
    written = output.T.reshape(heads, -1, len(output))
    lengths = torch.einsum("hed,hfd->hef", written, written)

    def effect(rows: Tensor) -> Tensor:
        context = rows.reshape(len(rows), heads, -1)
        return torch.einsum("nhe,hef,nhf->nh", context, lengths, context)

    return effect


def _of_neurons(output: Tensor) -> Callable[[Tensor], Tensor]:
    lengths = output.square().sum(0)
    return lambda rows: rows.square() * lengths
