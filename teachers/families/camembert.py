"""CamemBERT (Martin et al., 2020, arXiv:1911.03894): RoBERTa, trained on French."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import CamembertConfig

from teachers.families.base import FAMILIES
from teachers.families.roberta import Roberta


@FAMILIES.register("camembert")
class Camembert(Roberta):
    """CamemBERT checkpoints; inputs and positions are RoBERTa's."""

    made: ClassVar[Any] = CamembertConfig
