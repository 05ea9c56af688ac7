"""Mask tuning: rescale what is kept, so that every block adds what it added before (Kwon et al. 2022, section 4.3).

No training: per block one linear least squares problem in as many unknowns as heads or neurons are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import Anatomy, structure_of
from compress.anatomy.blocks import AttentionBlock, FfnBlock, stored_layers
from compress.core.errors import InputError, JobError
from compress.importance.base import Evidence
from compress.importance.masks import Masks, masked
from compress.importance.matrices import matrix
from compress.importance.running import examined, real_tokens
from compress.importance.stages import Stages

WILD = 10.0  # beyond this scale the paper gives up, too
DAMPING = 0.3  # less fits the texts hardly better, with scales of -3 to 4
Block = AttentionBlock | FfnBlock
See = Callable[[Tensor, Tensor, Tensor], None]


def tune(
    model: PreTrainedModel, masks: Masks, evidence: Evidence, damping: float = DAMPING
) -> tuple[Masks, dict[str, Any]]:
    """Masks with the zeros of `masks` and other numbers for what is kept, and facts for the manifest.

    From the first block on, the kept numbers minimise the squared distance, over real tokens, between the state after
    the block in the pruned model, where the blocks before are pruned and tuned already, and in the whole one, in the
    units of the norm that reads it: each token's state by its own deviation, each feature times its gain. (The paper
    takes the bare state, where a few features of huge size decide, which the norm makes small.) In pre-norm families
    (GPT-2, T5) it is the bare distance of what the block adds. In the last layer only tokens count that the outputs
    depend on: a classifier of the first token does not ask what becomes of the others. `damping` draws the numbers
    towards what they were, as a share of the mean diagonal of the normal equations. A block whose solution is not
    finite or beyond 10 stays as it was; a block without a mask is not touched.

    Costs one pass of the whole model (of its last layer two) and three of the pruned one over the texts, without
    gradients, and holds the states of all texts twice. Raises InputError without texts.
    """
    if not evidence.batches:
        raise InputError("mask tuning looks at training texts, and none were given; give texts, or leave it out")
    found = Masks(dict(masks.heads), dict(masks.neurons))
    facts: dict[str, Any] = {}
    whole, pruned = Stages(model, evidence.batches), Stages(model, evidence.batches)
    with examined(model):
        for number in range(len(whole.layers)):
            blocks = [block for block in _in_order(model, masks) if block.layer == number + 1]
            counted = whole.read_by_head() if blocks and number == len(whole.layers) - 1 else None
            targets = _targets(model, whole, number, blocks, counted)
            for block in blocks:
                held = found.heads if isinstance(block, AttentionBlock) else found.neurons
                problem = _Problem(model, block, held[block.name])
                see = problem.against(targets[block.name])
                with masked(model, found), _watched(model, block, pruned, see, counted):
                    pruned.run(number)
                held[block.name], facts[block.name] = problem.tuned(damping)
            with masked(model, found):
                pruned.run(number, keep=True)
    return found, {"texts": sum(len(batch["input_ids"]) for batch in evidence.batches), "blocks": facts}


def _in_order(model: PreTrainedModel, masks: Masks) -> list[Block]:
    """The blocks that have masks, those of a layer in the order in which they run."""
    structure = structure_of(model)
    blocks: list[Block] = [*structure.attention_blocks(model), *structure.ffn_blocks(model)]
    return [block for block in blocks if block.name in masks.heads or block.name in masks.neurons]


def _targets(
    model: PreTrainedModel, whole: Stages, number: int, blocks: Sequence[Block], counted: Sequence[Tensor] | None
) -> dict[str, list[Tensor]]:
    """For every block of a layer, the states `[n, d]` after it in the whole model, one entry for each call."""
    found: dict[str, list[Tensor]] = {block.name: [] for block in blocks}

    def keeps(name: str) -> See:
        return lambda read, added, after: found[name].append(after)

    with _all_watched(model, blocks, whole, keeps, counted):
        whole.run(number, keep=True)
    return found


@contextmanager
def _all_watched(
    model: PreTrainedModel,
    blocks: Sequence[Block],
    stages: Stages,
    sees: Callable[[str], See],
    counted: Sequence[Tensor] | None,
) -> Iterator[None]:
    with ExitStack() as stack:
        for block in blocks:
            stack.enter_context(_watched(model, block, stages, sees(block.name), counted))
        yield


@contextmanager
def _watched(
    model: PreTrainedModel, block: Block, stages: Stages, see: See, counted: Sequence[Tensor] | None
) -> Iterator[None]:
    """While the block runs, `see(read, added, after)` gets, over real tokens of every call, in float32:

    what the block's output matrix reads `[n, i]` before any mask, what it gives `[n, d]`, and the state after the block
    `[n, d]`: what its norm reads where that comes after the sum, otherwise what it gives. counted: for every batch,
    bool `[b, s]`, which of them; None: all.
    """
    output, norm = model.get_submodule(block.name), _norm_after(model, block)
    now: dict[str, Tensor] = {}

    def reading(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        now["real"] = real_tokens(block.name, inputs[0], stages.batch)
        if counted is not None:
            now["real"] = now["real"] & counted[stages.place]
        now["read"] = inputs[0][now["real"]].float()

    def giving(module: nn.Module, inputs: Any, given: Tensor) -> None:
        now["added"] = given[now["real"]].float()
        if norm is None:
            see(now["read"], now["added"], now["added"])

    def norming(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        see(now["read"], now["added"], inputs[0][now["real"]].float())

    hooks = [
        output.register_forward_pre_hook(reading, prepend=True),  # before the hook that masks
        output.register_forward_hook(giving),
    ]
    if norm is not None:
        hooks.append(norm.register_forward_pre_hook(norming))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _norm_after(model: PreTrainedModel, block: Block) -> nn.Module | None:
    """The norm that reads a state plus what the block adds; every family with an anatomy has one, others none."""
    structure = structure_of(model)
    if not isinstance(structure, Anatomy):
        return None
    layer = stored_layers(structure.layer_list(model))[block.layer - 1]
    return layer.get_submodule(structure.attention_norm if isinstance(block, AttentionBlock) else structure.ffn_norm)


class _Problem:
    """The normal equations of one block: sum over tokens t of (g (sum_j m_j A_j - T) / s_t)^2, over the kept parts j.

    g is the gain of the norm behind the block and s_t the deviation of the token's state in the whole model; both are 1
    where no norm follows.

    A_j is what part j adds to a token at m_j = 1, and T what all of them should: the target's state, less the own state
    without them. With X what the output matrix W reads, A_i . A_j summed over tokens is an entry of (X^T X) o (W^T W),
    summed over the features of a head.
    """

    def __init__(self, model: PreTrainedModel, block: Block, mask: Tensor) -> None:
        self.mask = mask
        self.kept = (mask != 0).nonzero()[:, 0].cpu()
        weights = matrix(model, block.name).float()
        self.width = weights.shape[1] // len(mask)
        self.columns = (self.kept[:, None] * self.width + torch.arange(self.width)).flatten().to(weights.device)
        norm = _norm_after(model, block)
        self.gain = None if norm is None else norm.get_parameter("weight").detach().float()
        self.weights = weights[:, self.columns] * (1.0 if self.gain is None else self.gain[:, None])
        bias = getattr(model.get_submodule(block.name), "bias", None)
        self.bias = torch.zeros(len(weights), device=weights.device) if bias is None else bias.detach().float()
        self.lengths = self.weights.T @ self.weights
        size = len(self.columns)
        self.moments = torch.zeros(size, size, device=weights.device)
        self.products = torch.zeros(size, device=weights.device)
        self.target = torch.zeros((), device=weights.device)

    def against(self, targets: Sequence[Tensor]) -> See:
        """What collects the equations, call by call, against the states of the same calls in the whole model."""
        rest = iter(targets)

        def see(read: Tensor, added: Tensor, after: Tensor) -> None:
            target = next(rest)
            wanted, features = target - after + added - self.bias, read[:, self.columns]
            if self.gain is not None:
                scale = 1 / target.std(1, keepdim=True).clamp(min=1e-6)
                wanted, features = wanted * self.gain * scale, features * scale
            self.moments += features.T @ features
            self.products += (features * (wanted @ self.weights)).sum(0)
            self.target += wanted.square().sum()

        return see

    def tuned(self, damping: float) -> tuple[Tensor, dict[str, Any]]:
        """The new mask, or the old one when the solution is wild; the block's relative errors before and after."""
        now = self.mask[self.kept.to(self.mask.device)].double().cpu()
        equations, right, target = self._equations()
        pull = (damping * equations.diagonal().mean()).clamp(min=1e-12)
        # Positive definite by the pull, so that Cholesky's solver will do.
        factor, failed = torch.linalg.cholesky_ex(equations + pull * torch.eye(len(now), dtype=torch.float64))
        found = torch.cholesky_solve((right + pull * now)[:, None], factor)[:, 0]
        wild = bool(failed) or not bool(found.isfinite().all()) or bool(found.abs().max() > WILD)
        mask = self.mask.clone()
        if not wild:
            mask[self.kept.to(mask.device)] = found.to(mask)

        def error(numbers: Tensor) -> float:
            square = target - 2 * right @ numbers + numbers @ equations @ numbers
            return float((square.clamp(min=0) / target.clamp(min=1e-30)).sqrt())

        return mask, {"tuned": not wild, "before": error(now), "after": error(now if wild else found)}

    def _equations(self) -> tuple[Tensor, Tensor, Tensor]:
        """`[k, k]`, `[k]` and a scalar, float64 on the CPU, over the k kept parts."""
        count, width = len(self.kept), self.width
        equations = (self.moments * self.lengths).double().cpu().reshape(count, width, count, width).sum((1, 3))
        right = self.products.double().cpu().reshape(count, width).sum(1)
        if not equations.isfinite().all() or not right.isfinite().all():
            raise JobError("mask tuning met states that are NaN or infinite; check the model, or leave tuning out")
        return equations, right, self.target.double().cpu()
