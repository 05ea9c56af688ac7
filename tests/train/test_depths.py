"""Layer-wise learning rates: shares by depth, and that weights move by them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from compress.core.errors import InputError
from compress.train.batches import TrainData
from compress.train.depths import rate_shares
from compress.train.fit import fit
from compress.train.options import TrainOptions
from tests.train import tiny


def test_each_layer_has_a_share_of_the_one_above() -> None:
    """An exponent off by one gives the head, or the embeddings, the rate of another layer."""
    module = nn.ModuleDict({name: nn.Linear(1, 1, bias=False) for name in ("emb", "one", "two", "head", "still")})
    module["still"].requires_grad_(False)
    depths = {"emb.weight": 0, "one.weight": 1, "two.weight": 2}
    shares = rate_shares(module, depths.get, 0.5)
    assert shares == {"emb.weight": 0.125, "one.weight": 0.25, "two.weight": 0.5, "head.weight": 1.0}


def test_weights_move_by_their_share(tmp_path: Path) -> None:
    """Groups that the scheduler, or the Trainer, sets back to one rate. Adam's first step is the rate itself."""
    module, before = tiny.objective(), dict(tiny.objective().named_parameters())
    made = tiny.features(8)
    data = TrainData(made, tiny.collate, [len(row["input_ids"]) for row in made])
    options = TrainOptions(
        **{**tiny.OPTIONS.dump(), "epochs": 1, "layer_decay": 0.5, "weight_decay": 0.0, "warmup": 0.0,
           "learning_rate": 1e-3, "max_grad_norm": 0.0}
    )  # fmt: skip
    result = fit(module, data, tiny.loss, options, work=tmp_path, seed=1, depth_of=tiny.depth_of)
    assert result.steps == 1
    moved = {name: float((value - before[name]).detach().abs().max()) for name, value in module.named_parameters()}
    assert moved["projection.weight"] == pytest.approx(1e-3, rel=0.02)
    assert moved["student.classifier.weight"] == pytest.approx(1e-3, rel=0.02)
    assert moved["student.bert.encoder.layer.0.output.dense.weight"] == pytest.approx(5e-4, rel=0.02)
    assert moved["student.bert.embeddings.word_embeddings.weight"] == pytest.approx(2.5e-4, rel=0.02)


def test_the_history_tells_the_whole_rate(tmp_path: Path) -> None:
    """The rate of the lowest layer, told as the rate of the training."""
    made = tiny.features(8)
    data = TrainData(made, tiny.collate, [len(row["input_ids"]) for row in made])
    options = TrainOptions(
        **{**tiny.OPTIONS.dump(), "epochs": 1, "layer_decay": 0.5, "warmup": 0.0, "schedule": "constant"}
    )
    result = fit(tiny.objective(), data, tiny.loss, options, work=tmp_path, seed=1, depth_of=tiny.depth_of)
    assert result.history[-1]["lr"] == options.learning_rate


def test_a_body_without_layers_is_refused() -> None:
    """A decay that decays nothing would pass for one that works."""
    with pytest.raises(InputError, match="none of the trained weights belongs to a layer"):
        rate_shares(torch.nn.Linear(2, 2), lambda name: None, 0.5)
