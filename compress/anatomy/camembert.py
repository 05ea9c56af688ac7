"""CamemBERT (Martin et al. 2020, arXiv 1911.03894): RoBERTa, trained on French."""

from __future__ import annotations

from compress.anatomy.base import ANATOMIES
from compress.anatomy.roberta import Roberta


@ANATOMIES.register("camembert")
class Camembert(Roberta):
    """RoBERTa's parts under another name."""
