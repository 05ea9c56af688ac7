"""Texts, masks and a distance for what makes up for parts that are gone: mask tuning and refitting."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.importance.base import Evidence
from compress.importance.masks import Masks, masked, ones

NORM = "bert.encoder.layer.0.output.LayerNorm"  # behind the first feed-forward of a BERT
FAMILIES = ["bert", "distilbert", "roberta", "electra", "albert", "deberta-v2", "mpnet", "gpt2", "t5"]


def texts(model: PreTrainedModel, seed: int, rows: int = 24) -> Evidence:
    """Random texts of several lengths with padding; a decoder reads the same."""
    draw = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(4):
        ids = torch.randint(5, 50, (rows, 9), generator=draw)
        lengths = torch.randint(3, 10, (rows, 1), generator=draw)
        mask = (torch.arange(9)[None, :] < lengths).long()
        pad = int(model.config.pad_token_id or 0)
        batch = {"input_ids": ids.masked_fill(mask == 0, pad), "attention_mask": mask}
        if model.config.is_encoder_decoder:
            batch |= {"decoder_input_ids": batch["input_ids"], "decoder_attention_mask": mask}
        batches.append(batch)
    return Evidence(batches=batches)


def halved(model: PreTrainedModel) -> Masks:
    """Every second head and three of four neurons gone."""
    masks = ones(model)
    for mask in masks.heads.values():
        mask[1::2] = 0
    for mask in masks.neurons.values():
        mask[torch.arange(len(mask)) % 4 != 0] = 0
    return masks


def distance(
    model: PreTrainedModel, masks: Masks, given: Evidence, pruned: PreTrainedModel | None = None, first: bool = False
) -> float:
    """Squared distance of the last hidden states of `pruned` (default the model itself) under masks from the whole
    model's, over real tokens, or over the first of every text."""
    total, smaller = 0.0, pruned or model
    with torch.no_grad():
        for batch in given.batches:
            real = batch["attention_mask"].bool()
            if first:
                real = real & (torch.arange(real.shape[1]) == 0)
            whole = model.base_model(**batch)[0][real]
            with masked(smaller, masks):
                total += float((smaller.base_model(**batch)[0][real] - whole).square().sum())
    return total


def read_by(model: PreTrainedModel, name: str, given: Evidence) -> Tensor:
    """What a part reads of real tokens `[n, i]`, float64."""
    seen: list[Tensor] = []
    hook = model.get_submodule(name).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        for batch in given.batches:
            model(**batch)
    hook.remove()
    reals = [batch["attention_mask"].bool() for batch in given.batches]
    return torch.cat([read[real] for read, real in zip(seen, reals, strict=True)]).double()
