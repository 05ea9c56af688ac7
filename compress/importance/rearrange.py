"""Swaps inside a block: parts that matter little alone may matter much together (Kwon et al. 2022, section 4.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.importance.masks import Masks


def rearranged(model: PreTrainedModel, masks: Masks, slopes: Mapping[str, Tensor]) -> Masks:
    """Masks of 0 and 1 that keep as many parts of every block, and lose less by the block's Fisher information.

    slopes: `[n, parts]` by block, of every text. Blocks that must keep the same heads are rearranged as one.
    """
    blocks = structure_of(model).attention_blocks(model)
    marks = {block.name: block.together or block.name for block in blocks}
    heads: dict[str, Tensor] = {}
    for mark in dict.fromkeys(marks[name] for name in masks.heads):
        names = [name for name in masks.heads if marks[name] == mark]
        fisher = torch.stack([_information(slopes[name]) for name in names]).sum(0)
        heads |= dict.fromkeys(names, swapped(masks.heads[names[0]], fisher))
    neurons = {name: swapped(mask, _information(slopes[name])) for name, mask in masks.neurons.items()}
    return Masks({name: heads[name] for name in masks.heads}, neurons)


def swapped(mask: Tensor, fisher: Tensor) -> Tensor:
    """The mask `[p]` of 0 and 1 after swaps, each the best that there is, while (1 - m)^T F (1 - m) falls.

    fisher: `[p, p]`, symmetric. At most as many swaps as parts are lost, so that rounding cannot make a circle.
    """
    lost, held = (mask == 0).nonzero()[:, 0].cpu(), (mask != 0).nonzero()[:, 0].cpu()
    if not len(lost) or not len(held):
        return mask
    own = fisher.diagonal()
    for _ in range(len(lost)):
        together = fisher[:, lost].sum(1)
        back = own[lost] - 2 * together[lost]
        away = own[held] + 2 * together[held]
        change = back[:, None] + away[None, :] - 2 * fisher[lost][:, held]
        best = int(change.argmin())
        one, two = best // len(held), best % len(held)
        if change[one, two] >= -1e-6 * own.sum():
            break
        lost[one], held[two] = held[two].clone(), lost[one].clone()
    found = torch.ones_like(mask)
    found[lost.to(mask.device)] = 0
    return found


def _information(slopes: Tensor) -> Tensor:
    """`[p, p]`: mean over texts of the products of their slopes."""
    return slopes.T @ slopes / len(slopes)
