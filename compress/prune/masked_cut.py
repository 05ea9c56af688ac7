"""Heads and neurons out of the weights, by masks: 0 takes a part away, 1 leaves it, others are folded in.

One way for every family, through the blocks that its anatomy names. What comes out equals the model under the same
masks (`compress/prune/proof.py` shows it).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.anatomy.blocks import AttentionBlock, FfnBlock
from compress.core.errors import InputError, did_you_mean
from compress.importance.masks import Masks
from compress.prune.slicing import Slice, cut
from compress.students.narrowing import head_rows


def cut_masked(model: PreTrainedModel, masks: Masks) -> PreTrainedModel:
    """A copy without the heads and neurons whose mask is 0; a block that no mask names stays whole.

    Raises InputError for masks of unknown blocks, of wrong length or per row, for a block that would lose everything,
    for blocks that share a table of relative positions and would keep different heads, and for unsupported families.
    """
    slices = mask_slices(model, masks)
    smaller = copy.deepcopy(model)
    cut(smaller, slices)
    write_counts(model, smaller, masks)
    write_shape(smaller)
    return smaller


def write_counts(original: PreTrainedModel, smaller: PreTrainedModel, masks: Masks) -> None:
    """Tell the attentions of the smaller model how many heads they have, and whoever holds a table for their heads."""
    structure = structure_of(original)
    for block in structure.attention_blocks(original):
        if block.name not in masks.heads:
            continue
        heads = int(masks.heads[block.name].count_nonzero())
        structure.write_heads(smaller.get_submodule(block.holder), heads)
        keeper = smaller.get_submodule(block.table.rpartition(".")[0])
        if block.table and hasattr(keeper, "n_heads"):
            keeper.n_heads = heads  # type: ignore[assignment]


def mask_slices(model: PreTrainedModel, masks: Masks) -> list[Slice]:
    """What is left of every matrix. Raises InputError as `cut_masked`."""
    structure = structure_of(model)
    attentions, feed_forwards = structure.attention_blocks(model), structure.ffn_blocks(model)
    heads = _checked(attentions, masks.heads, "heads")
    neurons = _checked(feed_forwards, masks.neurons, "neurons")
    _refuse_apart(attentions, heads)
    slices: list[Slice] = []
    tables: dict[str, Tensor] = {}
    for block in attentions:
        if block.name in heads:
            slices += _head_slices(block, heads[block.name])
            if block.table:
                tables[block.table] = heads[block.name].nonzero().flatten()
    slices += [Slice(table, "out", kept) for table, kept in tables.items()]
    for feed in feed_forwards:
        if feed.name in neurons:
            mask = neurons[feed.name]
            kept = mask.nonzero().flatten()
            slices += [Slice(name, "out", kept) for name in feed.inputs]
            slices.append(Slice(feed.output, "in", kept, _scale(mask[kept])))
    return slices


def write_shape(model: PreTrainedModel) -> None:
    """Put into the config what all layers agree on and the family's config can say; the rest is `settle`'s."""
    structure = structure_of(model)
    neurons = {block.neurons for block in structure.ffn_blocks(model)}
    if len(neurons) == 1:
        structure.write_config(model, ffn=neurons.pop())
    shapes = {(block.heads, block.head_width) for block in structure.attention_blocks(model)}
    if len(shapes) > 1:
        return
    heads, width = shapes.pop()
    if "head_width" in structure.config_names:
        structure.write_config(model, heads=heads, head_width=width)
    elif heads * width == structure.width(model):
        structure.write_config(model, heads=heads)


def _checked(
    blocks: Sequence[AttentionBlock] | Sequence[FfnBlock], masks: dict[str, Tensor], what: str
) -> dict[str, Tensor]:
    """The masks that belong to blocks, on the CPU, without those that leave all as it is."""
    known = {block.name: block for block in blocks}
    unknown = sorted(set(masks) - set(known))
    if unknown:
        hint = did_you_mean(unknown[0], known)
        raise InputError(f"a mask of {what} is for {unknown[0]!r}, which the model does not have{hint}")
    found = {}
    for name, block in known.items():
        if name in masks:
            mask = masks[name].detach().cpu()
            _check(block, mask, what)
            if not bool((mask == 1).all()):
                found[name] = mask
    return found


def _check(block: AttentionBlock | FfnBlock, mask: Tensor, what: str) -> None:
    count = block.heads if isinstance(block, AttentionBlock) else block.neurons
    place = f"layer {block.layer} ({block.name})"
    if mask.shape != (count,):
        raise InputError(
            f"{place} has {count} {what}, and its mask the shape {list(mask.shape)}; expected one number for each, the "
            f"same for all rows of a batch"
        )
    if not bool(torch.isfinite(mask).all()):
        raise InputError(f"the mask of the {what} of {place} holds NaN or infinity; expected finite numbers")
    if not mask.count_nonzero():
        raise InputError(
            f"all {count} {what} of {place} would go, and nothing could pass through it; keep one (a mask other than "
            f"0), or take the whole layer out with `depth`"
        )


def _refuse_apart(blocks: Sequence[AttentionBlock], masks: dict[str, Tensor]) -> None:
    """Blocks that add one table of relative positions to their scores must keep the same heads."""
    first: dict[str, tuple[AttentionBlock, Tensor]] = {}
    for block in blocks:
        if not block.together:
            continue
        kept = masks[block.name] != 0 if block.name in masks else torch.ones(block.heads, dtype=torch.bool)
        other, theirs = first.setdefault(block.together, (block, kept))
        if not torch.equal(kept, theirs):
            raise InputError(
                f"{block.name} and {other.name} share the biases of {block.together}, so they must keep the same "
                f"heads; came {_numbers(kept)} and {_numbers(theirs)} (from 0): choose heads once for all of them"
            )


def _numbers(kept: Tensor) -> list[int]:
    return [int(number) for number in kept.nonzero().flatten()]


def _head_slices(block: AttentionBlock, mask: Tensor) -> list[Slice]:
    kept = mask.nonzero().flatten()
    rows = head_rows(kept, block.head_width)
    given = rows
    if block.fused:  # queries, keys and values stand side by side in one matrix
        given = torch.cat([rows + part * block.heads * block.head_width for part in range(3)])
    slices = [Slice(name, "out", given) for name in block.inputs]
    slices += [Slice(name, "out", rows) for name in block.beside]
    scale = _scale(mask[kept])
    return [
        *slices,
        Slice(block.output, "in", rows, None if scale is None else scale.repeat_interleave(block.head_width)),
    ]


def _scale(kept: Tensor) -> Tensor | None:
    return None if bool((kept == 1).all()) else kept
