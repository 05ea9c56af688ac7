"""XLM-RoBERTa (Conneau et al. 2020, arXiv 1911.02116): RoBERTa, trained on a hundred languages."""

from __future__ import annotations

from compress.anatomy.base import ANATOMIES
from compress.anatomy.roberta import Roberta


@ANATOMIES.register("xlm-roberta")
class XlmRoberta(Roberta):
    """RoBERTa's parts under another name."""
