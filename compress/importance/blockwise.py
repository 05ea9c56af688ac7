"""Fitting what is kept, block by block: the states that each block should give, and those that it gives.

Both ways of making up for what is gone without training walk like this: the masks' numbers (`tune.py`) and whole output
matrices (`refit.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.anatomy.base import Anatomy, structure_of
from compress.anatomy.blocks import AttentionBlock, FfnBlock, stored_layers
from compress.core.errors import InputError, JobError
from compress.importance.base import Batch
from compress.importance.masks import Masks, masked
from compress.importance.matrices import matrix
from compress.importance.running import examined, real_tokens
from compress.importance.stages import Stages

Block = AttentionBlock | FfnBlock
See = Callable[[Tensor, Tensor, Tensor], None]


class Fit(Protocol):
    """One block's least squares problem."""

    def see(self, read: Tensor, added: Tensor, after: Tensor, target: Tensor) -> None:
        """One call of the block, over the tokens that count, float32.

        read: what its output matrix reads `[n, i]`, before any mask; added: what that gives `[n, d]`; after: the state
        behind the block `[n, d]` (what it adds, where no norm follows); target: what that should be.
        """
        ...

    def solve(self) -> dict[str, Any]:
        """Put the solution where the pruned model reads it. Facts: `tuned`; relative errors `before` and `after`."""
        ...


def fit_blocks(
    model: PreTrainedModel,
    pruned: PreTrainedModel,
    masks: Masks,
    batches: Sequence[Batch],
    fit_of: Callable[[Block], Fit],
) -> dict[str, Any]:
    """Fit every block that has a mask, from the first on; facts by block.

    pruned: runs under `masks`, and may be `model` itself; what a fit changes of it or of `masks` counts for all blocks
    after. Of every block the distance between the state after it in `pruned`, where the blocks before are pruned and
    fitted already, and in `model` is what a fit shall make small. Of a layer that runs several times (ALBERT) it is the
    distance from what the whole block would add to the same state: to make up for earlier runs with a matrix that those
    runs have, too, would drive them apart. In the last layer only tokens count that the outputs depend on: a classifier
    of the first token does not ask what becomes of the others.

    Costs one pass of the whole model (of its last layer two) and three of the pruned one over the texts, without
    gradients; holds the states of all texts twice, and those behind every block of one layer. Raises InputError without
    texts.
    """
    if not batches:
        raise InputError("tuning looks at training texts, and none were given; give texts, or leave it out")
    facts: dict[str, Any] = {}
    whole, cut = Stages(model, batches), Stages(pruned, batches)
    with examined(model), examined(pruned):
        for number in range(len(whole.layers)):
            blocks = [block for block in in_order(model, masks) if block.layer == number + 1]
            counted = whole.read_by_head() if blocks and number == len(whole.layers) - 1 else None
            targets = _targets(model, whole, number, blocks, counted)
            for block in blocks:
                fit = fit_of(block)
                see = _as_whole(fit, model, block) if whole.repeats(number) else _against(fit, targets[block.name])
                with masked(pruned, masks), _watched(pruned, block, cut, see, counted):
                    cut.run(number)
                facts[block.name] = fit.solve()
            with masked(pruned, masks):
                cut.run(number, keep=True)
    return {"texts": sum(len(batch["input_ids"]) for batch in batches), "blocks": facts}


def sound(*sums: Tensor) -> list[Tensor]:
    """The sums in float64 on the CPU. Raises JobError for NaN and infinity."""
    if not all(bool(one.isfinite().all()) for one in sums):
        raise JobError("tuning met states that are NaN or infinite; check the model, or leave tuning out")
    return [one.double().cpu() for one in sums]


def relative(square: Tensor | float, target: Tensor | float) -> float:
    """The root of a squared error as a share of the target's, neither below 0."""
    return float((max(float(square), 0.0) / max(float(target), 1e-30)) ** 0.5)


def _against(fit: Fit, targets: Sequence[Tensor]) -> See:
    rest = iter(targets)
    return lambda read, added, after: fit.see(read, added, after, next(rest))


def _as_whole(fit: Fit, model: PreTrainedModel, block: Block) -> See:
    """Against what the whole block gives for what it reads."""
    weight, bias = matrix(model, block.name).float(), getattr(model.get_submodule(block.name), "bias", None)
    given = None if bias is None else bias.detach().float()
    return lambda read, added, after: fit.see(
        read, added, after, after - added + nn.functional.linear(read, weight, given)
    )


def in_order(model: PreTrainedModel, masks: Masks) -> list[Block]:
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
    output, norm = model.get_submodule(block.name), norm_after(model, block)
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


def norm_after(model: PreTrainedModel, block: Block) -> nn.Module | None:
    """The norm that reads a state plus what the block adds; every family with an anatomy has one, others none."""
    structure = structure_of(model)
    if not isinstance(structure, Anatomy):
        return None
    layer = stored_layers(structure.layer_list(model))[block.layer - 1]
    return layer.get_submodule(structure.attention_norm if isinstance(block, AttentionBlock) else structure.ffn_norm)
