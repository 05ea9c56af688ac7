"""Second order in what a matrix gives: the error that is left after the rest has been repaired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.core.errors import JobError
from compress.importance.base import IMPORTANCES, Batch, Evidence, Importance, Scores
from compress.importance.matrices import like_stored, matrix, matrix_names
from compress.importance.running import watch
from compress.importance.tally import Tally


@IMPORTANCES.register("hessian")
class Hessian(Importance):
    """The optimal brain surgeon, one matrix at a time: H = E[x x^T] + lambda I over the inputs x of real tokens.

    A weight counts w_ij^2 / (H^-1)_jj (Frantar and Alistarh 2023, SparseGPT, arXiv 2301.00774). A head or neuron S
    counts sum_i W_iS ((H^-1)_SS)^-1 W_iS^T with the block's output matrix W (Kurtic et al. 2023, ZipLM, arXiv
    2302.04089): the mean square of the error in what the block adds, after all its other columns have been refitted.
    """

    parts: ClassVar[frozenset[str]] = frozenset({"heads", "neurons", "weights"})
    reads: ClassVar[str] = "texts"
    paper: ClassVar[str] = "Kurtic et al. 2023, arXiv 2302.04089; Frantar and Alistarh 2023, arXiv 2301.00774"

    damping: float = Field(0.01, gt=0, description="lambda, as a share of the mean of H's diagonal")

    def score(self, model: PreTrainedModel, wanted: frozenset[str], evidence: Evidence) -> Scores:
        """Raises InputError without texts; JobError when inputs are NaN or infinite."""
        self.check(wanted, evidence)
        structure, found = structure_of(model), Scores()
        blocks = structure.attention_blocks(model) if "heads" in wanted else []
        feeds = structure.ffn_blocks(model) if "neurons" in wanted else []
        names = [*(block.name for block in blocks), *(feed.name for feed in feeds)]
        names += matrix_names(model) if "weights" in wanted else []
        moments = second_moments(model, evidence.batches, list(dict.fromkeys(names)))
        for name in moments.names():
            inverse = self._inverse(moments.mean(name), name)
            weights = matrix(model, name).double().cpu()
            for block in blocks:
                if block.name == name:
                    found.heads[name] = _of_structures(weights, inverse, block.heads)
            for feed in feeds:
                if feed.name == name:
                    found.neurons[name] = (weights.square().sum(0) / inverse.diagonal()).float()
            if "weights" in wanted:
                scores = (weights.square() / inverse.diagonal()).float()
                found.weights[f"{name}.weight"] = like_stored(model, name, scores)
        return found

    def _inverse(self, moments: Tensor, name: str) -> Tensor:
        """`[i, i]`, float64."""
        exact = moments.double()
        if not exact.isfinite().all():
            raise JobError(f"{name}: what it reads of the texts is NaN or infinite; check the model")
        floor = (self.damping * exact.diagonal().mean()).clamp(min=1e-12)
        factor = torch.linalg.cholesky(exact + floor * torch.eye(len(exact), dtype=torch.float64))
        found: Tensor = torch.cholesky_inverse(factor)
        return found


def second_moments(model: PreTrainedModel, batches: Sequence[Batch], names: Sequence[str]) -> Tally:
    """By matrix the mean over real tokens of x x^T, `[i, i]`."""
    sums = Tally()
    watch(model, batches, names, lambda name, rows: sums.put(name, rows.T @ rows, len(rows)))
    return sums


def _of_structures(weights: Tensor, inverse: Tensor, heads: int) -> Tensor:
    """`[h]` for groups of neighbouring columns of `[d, h * e]`."""
    width = len(inverse) // heads
    columns = weights.T.reshape(heads, width, -1)
    own = torch.stack([inverse[at : at + width, at : at + width] for at in range(0, len(inverse), width)])
    return (columns * torch.linalg.solve(own, columns)).sum((1, 2)).float()
