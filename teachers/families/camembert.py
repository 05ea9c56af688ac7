"""CamemBERT (Martin et al., 2020, arXiv:1911.03894): RoBERTa, trained on French."""

from __future__ import annotations

from typing import ClassVar

from transformers import CamembertConfig, PreTrainedConfig

from teachers.families.base import FAMILIES
from teachers.families.roberta import Roberta


@FAMILIES.register("camembert")
class Camembert(Roberta):
    """CamemBERT checkpoints; inputs and positions are RoBERTa's."""

    made: ClassVar[type[PreTrainedConfig]] = CamembertConfig
