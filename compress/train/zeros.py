"""Zeros that stay: a model whose weights were pruned one by one is trained without filling them again.

The mark is a part of the model's config (`stillroom_zeros`, written by the pruner `weights`), so that it travels with
the folder and no option can be forgotten. Where a marked matrix is zero when a training starts, it is set to zero after
every update: momentum and weight decay move a weight that gets no gradient too. (Han et al. 2015 train in this way.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

NAME = "stillroom_zeros"


def mark(model: PreTrainedModel, matrices: Sequence[str], how: Mapping[str, Any]) -> None:
    """Say in a model's config that the zeros of these weights are to stay, and how they were chosen.

    They are named from the base model down, so that the mark holds under another head too.
    """
    inside = {id(value): name for name, value in model.base_model.named_parameters()}
    named = [inside[id(model.get_parameter(name))] for name in matrices]
    setattr(model.config, NAME, {"matrices": named, **how})


class Zeros:
    """The places of a module that must stay zero, found in the marked models inside it as they are now."""

    def __init__(self, module: nn.Module) -> None:
        self._held: dict[int, tuple[Tensor, Tensor]] = {}
        for model in (part for part in module.modules() if isinstance(part, PreTrainedModel)):
            marked = set((getattr(model.config, NAME, None) or {}).get("matrices", ()))
            for name, value in model.base_model.named_parameters() if marked else ():
                if name in marked and value.requires_grad and id(value) not in self._held:
                    self._held[id(value)] = (value, value.detach() == 0)

    def __len__(self) -> int:
        return len(self._held)

    def restore(self) -> None:
        """Set them to zero again, in place: the optimizer holds on to the module's memory."""
        with torch.no_grad():
            for value, gone in self._held.values():
                value.masked_fill_(gone.to(value.device), 0.0)
