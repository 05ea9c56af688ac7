"""A masked language model over the words of the small corpus."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForMaskedLM

from tests.teachers.helpers import small_checkpoint


def masked_model(folder: Path, family: str) -> Path:
    """Random weights, but embeddings that differ enough for the head to prefer some words."""
    small_checkpoint(folder, family)
    torch.manual_seed(3)
    model = AutoModelForMaskedLM.from_config(AutoConfig.from_pretrained(folder))
    with torch.no_grad():
        model.get_input_embeddings().weight.normal_()
    model.save_pretrained(folder)
    return folder
