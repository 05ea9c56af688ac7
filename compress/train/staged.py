"""What a trained module may hold besides weights: a part that follows the training's progress by a rule of its own."""

from __future__ import annotations

from abc import abstractmethod

from torch import nn

from compress.train.group import Group


class Staged(nn.Module):
    """A submodule that the loop tells where the training stands.

    Its state lies in buffers, so that a checkpoint holds it; it changes them in place and in `updated` alone, so that a
    run that is taken up again goes on bit-equal.
    """

    @abstractmethod
    def begin(self, updates: int) -> None:
        """Before the first update of a fresh run and of one that goes on: the training has so many updates.

        Raises InputError where that is too few.
        """

    @abstractmethod
    def updated(self, step: int, group: Group) -> None:
        """After update `step` (from 1), in every process of the group."""

    @abstractmethod
    def counts(self, step: int) -> bool:
        """Whether the weights after update `step` may be kept, so that dev's word on them counts."""


def staged_parts(module: nn.Module) -> list[Staged]:
    """Every such part of a module."""
    return [part for part in module.modules() if isinstance(part, Staged)]
