"""Full fine-tuning (Devlin et al., 2019, arXiv:1810.04805, section 3.2)."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from teachers.modes.base import MODES, Mode


@MODES.register("full")
class Full(Mode):
    """Every weight of body and head is trained."""

    def prepare(self, model: PreTrainedModel) -> nn.Module:
        """The model itself, nothing frozen."""
        return model.requires_grad_(True)
