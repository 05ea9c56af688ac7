"""Zeros that stay: a model whose weights were pruned one by one is trained without filling them again.

The mark is a part of the model's config (`stillroom_zeros`, written by the pruner `weights`), so that it travels with
the folder and no option can be forgotten. Where a marked matrix is zero when a training starts, it is set to zero after
every update: momentum and weight decay move a weight that gets no gradient too. (Han et al. 2015 train in this way.)

Zeros come last: what moves weights to other places (heads, neurons, width, products of two matrices) is refused for a
marked model, and what keeps them where they are carries the mark over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from compress.core.errors import InputError

NAME = "stillroom_zeros"


def mark(model: PreTrainedModel, matrices: Sequence[str], how: Mapping[str, Any]) -> None:
    """Say in a model's config that the zeros of these weights are to stay, and how they were chosen.

    They are named from the base model down, so that the mark holds under another head too.
    """
    inside = {id(value): name for name, value in model.base_model.named_parameters()}
    named = [inside[id(model.get_parameter(name))] for name in matrices]
    setattr(model.config, NAME, {"matrices": named, **how})


def marked(model: PreTrainedModel) -> frozenset[str]:
    """Names of the matrices whose zeros are to stay, from the base model down; none in a model without the mark."""
    return frozenset((getattr(model.config, NAME, None) or {}).get("matrices", ()))


def carry(source: PreTrainedModel, target: PreTrainedModel, matrices: Iterable[str]) -> None:
    """Give a model the mark of the one that it was made from, for those of its matrices (named as in the mark).

    None of them: it has no mark.
    """
    kept = sorted(matrices)
    if kept:
        setattr(target.config, NAME, {**getattr(source.config, NAME), "matrices": kept})
    else:
        drop(target.config)


def drop(config: PreTrainedConfig) -> None:
    """Take the mark out of a config that a model of other weights gets."""
    if hasattr(config, NAME):
        delattr(config, NAME)


def refuse(model: PreTrainedModel, method: str) -> None:
    """Raises InputError for a marked model, of which the method would break or fill the zeros."""
    if marked(model):
        how = getattr(model.config, NAME)
        kind = how.get("pattern") or f"a ratio of {how.get('ratio')}"
        raise InputError(
            f"{method}: single weights of this model were pruned ({kind}), and their zeros would not outlive it; "
            f"start from the model before them, and prune `weights` last"
        )


class Zeros:
    """ ""The places of a module that must stay zero, found in the marked models inside it as they are now."""

    def __init__(self, module: nn.Module) -> None:
        self._held: dict[int, tuple[Tensor, Tensor]] = {}
        for model in (part for part in module.modules() if isinstance(part, PreTrainedModel)):
            names = marked(model)
            for name, value in model.base_model.named_parameters() if names else ():
                if name in names and value.requires_grad and id(value) not in self._held:
                    self._held[id(value)] = (value, value.detach() == 0)

    def __len__(self) -> int:
        return len(self._held)

    def restore(self) -> None:
        """Set them to zero again, in place: the optimizer holds on to the module's memory."""
        with torch.no_grad():
            for key, (value, gone) in self._held.items():
                if gone.device != value.device:  # moved since, once
                    gone = gone.to(value.device)
                    self._held[key] = (value, gone)
                value.masked_fill_(gone, 0.0)
