"""Refitting: the output matrix of every block anew, so that what is kept adds what all of it added before.

No training: per block one linear least squares problem for each feature that it gives, in all that its output matrix
reads, where mask tuning has one number for each part. The layer-wise reconstruction of Frantar and Alistarh 2022
(Optimal Brain Compression, arXiv 2208.11580) and Meng et al. 2024 (OSSCAR, arXiv 2403.12983), with the states that the
pruned blocks before give, and in the units of the norm behind.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.blocks import AttentionBlock
from compress.importance.base import Evidence
from compress.importance.blockwise import Block, fit_blocks, norm_after, relative, sound
from compress.importance.masks import Masks
from compress.importance.matrices import matrix

DAMPING = 0.03


def refit(
    model: PreTrainedModel, masks: Masks, evidence: Evidence, damping: float = DAMPING
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A copy whose output matrices make up for what `masks` take away, to be cut by the same masks, and facts.

    From the first block on (`fit_blocks`), the columns of the kept parts, and the bias where there is one, minimise the
    squared distance, over real tokens, between the state after the block in the pruned model and in the whole one, each
    token's by the deviation that the norm behind divides it by (in GPT-2 and T5, whose norms come first, the bare
    distance of what the block adds). `damping` draws matrix and bias towards what they were, as a share of the mean
    diagonal of the normal equations, and more where there are few tokens: as many as unknowns double it. What the masks
    take away, blocks without a mask and `model` itself are not touched.

    Costs what `fit_blocks` says, a copy of the model, and for a block of k kept features products of k x k for every
    token and one solution (2 s for 3,072 on one core). Raises InputError without texts, JobError for NaN.
    """
    changed = copy.deepcopy(model)

    def fit_of(block: Block) -> _Problem:
        held = masks.heads if isinstance(block, AttentionBlock) else masks.neurons
        return _Problem(changed, block, held[block.name], damping)

    return changed, fit_blocks(model, changed, masks, evidence.batches, fit_of)


class _Problem:
    """The normal equations of one block, for what is to be added to its output matrix W and bias.

    With x_t what W reads of the kept parts under their masks, and a 1 for the bias, e_t the state's error and s_t its
    deviation in the whole model (1 where no norm follows): sum over tokens t of |D x_t - e_t|^2 / s_t^2.
    """

    def __init__(self, model: PreTrainedModel, block: Block, mask: Tensor, damping: float) -> None:
        part, self.damping = model.get_submodule(block.name), damping
        self.weights, self.bias = matrix(model, block.name), getattr(part, "bias", None)
        self.added = 0.0 if self.bias is None else self.bias.detach().float().clone()
        self.scaled = norm_after(model, block) is not None
        each = mask.detach().to(self.weights).repeat_interleave(self.weights.shape[1] // len(mask))
        self.columns = each.nonzero()[:, 0]
        self.mask = each[self.columns].float()
        size = len(self.columns) + (self.bias is not None)
        # Sums over all tokens, of which single ones are lost in float32.
        self.moments = torch.zeros(size, size, dtype=torch.float64, device=self.weights.device)
        self.products = torch.zeros(size, len(self.weights), dtype=torch.float64, device=self.weights.device)
        self.error = self.target = 0.0
        self.tokens = 0

    def see(self, read: Tensor, added: Tensor, after: Tensor, target: Tensor) -> None:
        """Add one call to the equations."""
        features, error = read[:, self.columns] * self.mask, target - after
        wanted = error + added - self.added
        if self.bias is not None:
            features = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
        if self.scaled:
            scale = 1 / target.std(1, keepdim=True).clamp(min=1e-6)
            features, error, wanted = features * scale, error * scale, wanted * scale
        self.moments += (features.T @ features).double()
        self.products += (features.T @ error).double()
        self.tokens += len(read)
        self.error += float(error.square().sum())
        self.target += float(wanted.square().sum())

    def solve(self) -> dict[str, Any]:
        """Add the solution to matrix and bias, where it is finite; the block's relative errors before and after."""
        moments, right = sound(self.moments, self.products)
        # Of the features alone: the bias's 1 says nothing of their size.
        size = moments.diagonal()[: len(self.columns)].mean()
        pull = (self.damping * (1 + len(moments) / max(self.tokens, 1)) * size).clamp(min=1e-12)
        factor, failed = torch.linalg.cholesky_ex(moments + pull * torch.eye(len(moments), dtype=torch.float64))
        found = torch.cholesky_solve(right, factor)
        fits = not bool(failed) and bool(found.isfinite().all())
        after = self.error
        if fits:
            self._add(found.to(self.weights.device))
            after += float((found * (moments @ found)).sum() - 2 * (found * right).sum())
        return {"tuned": fits, "before": relative(self.error, self.target), "after": relative(after, self.target)}

    @torch.no_grad()
    def _add(self, found: Tensor) -> None:
        kept = len(self.columns)
        self.weights[:, self.columns] += found[:kept].T.to(self.weights)
        if self.bias is not None:
            self.bias += found[kept].to(self.bias)
