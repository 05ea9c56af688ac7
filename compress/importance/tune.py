"""Mask tuning: rescale what is kept, so that every block adds what it added before (Kwon et al. 2022, section 4.3).

No training: per block one linear least squares problem in as many unknowns as heads or neurons are kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.blocks import AttentionBlock
from compress.importance.base import Evidence
from compress.importance.blockwise import Block, fit_blocks, norm_after, relative, sound
from compress.importance.masks import Masks
from compress.importance.matrices import matrix

WILD = 10.0  # beyond this scale the paper gives up, too
DAMPING = 0.3  # less fits the texts hardly better, with scales of -3 to 4


def tune(
    model: PreTrainedModel, masks: Masks, evidence: Evidence, damping: float = DAMPING
) -> tuple[Masks, dict[str, Any]]:
    """Masks with the zeros of `masks` and other numbers for what is kept, and facts for the manifest.

    From the first block on (`fit_blocks`), the kept numbers minimise the squared distance, over real tokens, between
    the state after the block in the pruned model and in the whole one, in the units of the norm that reads it: each
    token's state by its own deviation, each feature times its gain. (The paper takes the bare state, where a few
    features of huge size decide, which the norm makes small.) In pre-norm families (GPT-2, T5) it is the bare distance
    of what the block adds. `damping` draws the numbers towards what they were, as a share of the mean diagonal of the
    normal equations. A block whose solution is not finite or beyond 10 stays as it was; a block without a mask is not
    touched.

    Costs what `fit_blocks` says. Raises InputError without texts, JobError for NaN.
    """
    found = Masks(dict(masks.heads), dict(masks.neurons))

    def fit_of(block: Block) -> _Problem:
        held = found.heads if isinstance(block, AttentionBlock) else found.neurons
        return _Problem(model, block, held, damping)

    return found, fit_blocks(model, model, found, evidence.batches, fit_of)


class _Problem:
    """The normal equations of one block: sum over tokens t of (g (sum_j m_j A_j - T) / s_t)^2, over the kept parts j.

    g is the gain of the norm behind the block and s_t the deviation of the token's state in the whole model; both are 1
    where no norm follows.

    A_j is what part j adds to a token at m_j = 1, and T what all of them should: the target's state, less the own state
    without them. With X what the output matrix W reads, A_i . A_j summed over tokens is an entry of (X^T X) o (W^T W),
    summed over the features of a head.
    """

    def __init__(self, model: PreTrainedModel, block: Block, held: dict[str, Tensor], damping: float) -> None:
        self.held, self.name, self.damping = held, block.name, damping
        self.mask = mask = held[block.name]
        self.kept = (mask != 0).nonzero()[:, 0].cpu()
        weights = matrix(model, block.name).float()
        self.width = weights.shape[1] // len(mask)
        self.columns = (self.kept[:, None] * self.width + torch.arange(self.width)).flatten().to(weights.device)
        norm = norm_after(model, block)
        self.gain = None if norm is None else norm.get_parameter("weight").detach().float()
        self.weights = weights[:, self.columns] * (1.0 if self.gain is None else self.gain[:, None])
        bias = getattr(model.get_submodule(block.name), "bias", None)
        self.bias = torch.zeros(len(weights), device=weights.device) if bias is None else bias.detach().float()
        self.lengths = self.weights.T @ self.weights
        size = len(self.columns)
        self.moments = torch.zeros(size, size, device=weights.device)
        self.products = torch.zeros(size, device=weights.device)
        self.target = torch.zeros((), device=weights.device)

    def see(self, read: Tensor, added: Tensor, after: Tensor, target: Tensor) -> None:
        """Add one call to the equations."""
        wanted, features = target - after + added - self.bias, read[:, self.columns]
        if self.gain is not None:
            scale = 1 / target.std(1, keepdim=True).clamp(min=1e-6)
            wanted, features = wanted * self.gain * scale, features * scale
        self.moments += features.T @ features
        self.products += (features * (wanted @ self.weights)).sum(0)
        self.target += wanted.square().sum()

    def solve(self) -> dict[str, Any]:
        """The new mask, or the old one when the solution is wild; the block's relative errors before and after."""
        now = self.mask[self.kept.to(self.mask.device)].double().cpu()
        equations, right, target = self._equations()
        pull = (self.damping * equations.diagonal().mean()).clamp(min=1e-12)
        # Positive definite by the pull, so that Cholesky's solver will do.
        factor, failed = torch.linalg.cholesky_ex(equations + pull * torch.eye(len(now), dtype=torch.float64))
        found = torch.cholesky_solve((right + pull * now)[:, None], factor)[:, 0]
        wild = bool(failed) or not bool(found.isfinite().all()) or bool(found.abs().max() > WILD)
        if not wild:
            self.held[self.name] = mask = self.mask.clone()
            mask[self.kept.to(mask.device)] = found.to(mask)

        def error(numbers: Tensor) -> float:
            return relative(target - 2 * right @ numbers + numbers @ equations @ numbers, target)

        return {"tuned": not wild, "before": error(now), "after": error(now if wild else found)}

    def _equations(self) -> tuple[Tensor, Tensor, Tensor]:
        """`[k, k]`, `[k]` and a scalar, float64 on the CPU, over the k kept parts."""
        count, width = len(self.kept), self.width
        moments, products, target = sound(self.moments * self.lengths, self.products, self.target)
        return moments.reshape(count, width, count, width).sum((1, 3)), products.reshape(count, width).sum(1), target
