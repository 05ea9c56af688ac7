"""What a mode is: which weights of a teacher are trained, and what is saved in the end."""

from __future__ import annotations

from abc import abstractmethod

from torch import nn
from transformers import PreTrainedModel

from compress.core.options import Options
from compress.core.registry import Catalogue


class Mode(Options):
    """Base of every mode."""

    @abstractmethod
    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """The module to train: the model itself, or a wrapper of it; weights that must not move are frozen."""

    def finish(self, module: nn.Module) -> PreTrainedModel:
        """The trained model as it is saved, without what only training needed."""
        assert isinstance(module, PreTrainedModel)
        return module


MODES: Catalogue[Mode] = Catalogue("mode", "modes", ("teachers.modes",))
