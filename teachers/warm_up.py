"""Masked-word training of a new body before it sees a label (Devlin et al., 2019, arXiv:1810.04805, section 3.1)."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.artifact import write_json
from compress.core.hashing import file_sha256
from compress.core.processes import this_process
from compress.tasks.base import Task
from compress.tasks.features import collator, encode_rows, lengths
from compress.tasks.mask import Mask
from compress.train.batches import Batch, TrainData
from compress.train.evaluate import inputs_of
from compress.train.fit import fit
from compress.train.meter import Terms
from compress.train.options import TrainOptions
from compress.train.trainer import Loss
from teachers.heads import model_of, move_body
from teachers.origins.base import Need

BODY = "body.safetensors"
DONE = "done.json"


class WarmUp(TrainOptions):
    """How the body is warmed up; the vocabulary's head of it is thrown away."""

    epochs: float = Field(3, gt=0, description="passes over train and unlabeled text")
    learning_rate: float = Field(3e-4, gt=0, le=1, description="Peak of AdamW's learning rate, decayed linearly to 0")
    share: float = Field(0.15, gt=0, lt=1, description="share of the tokens to be guessed")


def warmed_body(
    model: PreTrainedModel, tokenizer: Any, texts: Sequence[str], options: WarmUp, need: Need
) -> dict[str, Any]:
    """Train a masked-word model on `texts` and put its body into `model`. Returns what was measured.

    It works in `need.work/warmup`: broken off, it goes on from its own checkpoints; finished, it is not done again.
    """
    work = need.work / "warmup"
    torch.manual_seed(need.seed)
    masked = model_of("AutoModelForMaskedLM", model.config)
    measured = _finished(work, masked)
    if measured is None:
        measured = {"texts": len(texts), **_train(masked, tokenizer, texts, options, need, work)}
        if this_process().leads:
            _finish(work, masked, measured)
    move_body(masked, model)
    return measured


def _train(
    masked: PreTrainedModel, tokenizer: Any, texts: Sequence[str], options: WarmUp, need: Need, work: Path
) -> dict[str, Any]:
    task = Mask(share=options.share)
    features = encode_rows(task, tokenizer, [{"text": text} for text in texts], need.max_length)
    data = TrainData(features, collator(task, tokenizer.pad_token_id), lengths(features))
    result = fit(
        masked, data, task_loss(task), options, work=work, seed=need.seed, reporter=need.reporter, label="warm-up"
    )
    return result.measured()


def _finished(work: Path, masked: PreTrainedModel) -> dict[str, Any] | None:
    """What a finished warm-up measured, its weights put into `masked`; None when there is none that is whole."""
    if not (work / DONE).is_file():
        return None
    done: dict[str, Any] = json.loads((work / DONE).read_text(encoding="utf-8"))
    if not (work / BODY).is_file() or file_sha256(work / BODY) != done["sha256"]:
        return None
    masked.base_model.load_state_dict(load_file(work / BODY))
    measured: dict[str, Any] = done["measured"]
    return measured


def _finish(work: Path, masked: PreTrainedModel, measured: dict[str, Any]) -> None:
    save_file({name: value.contiguous() for name, value in masked.base_model.state_dict().items()}, work / BODY)
    write_json(work / f".{DONE}", {"sha256": file_sha256(work / BODY), "measured": measured})
    os.replace(work / f".{DONE}", work / DONE)


def task_loss(task: Task) -> Loss:
    """The supervised loss of a model on a batch of this task, as `fit` asks for it."""

    def loss(module: nn.Module, batch: Batch) -> tuple[Tensor, Terms]:
        logits = task.read(module(**inputs_of(batch, batch["input_ids"].device)), batch)
        return task.hard_loss(logits, batch["labels"], batch["outputs"]), {}

    return loss
