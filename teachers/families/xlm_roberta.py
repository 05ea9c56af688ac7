"""XLM-RoBERTa (Conneau et al., 2020, arXiv:1911.02116): RoBERTa, trained on a hundred languages."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import XLMRobertaConfig

from teachers.families.base import FAMILIES
from teachers.families.roberta import Roberta


@FAMILIES.register("xlm-roberta")
class XlmRoberta(Roberta):
    """XLM-RoBERTa checkpoints, and encoders such as multilingual-e5; inputs and positions are RoBERTa's."""

    made: ClassVar[Any] = XLMRobertaConfig
