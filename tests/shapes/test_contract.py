"""What every family's uneven models promise: they come back as they were, and nothing else opens them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModel, PreTrainedModel

from compress.shapes.models import Uneven
from compress.shapes.settle import settle
from tests.shapes.carved import FAMILIES, carved, output

LOUD = (StrictDataclassError, RuntimeError)
AUTO: dict[str, Any] = {
    family: transformers.AutoModelForSequenceClassification for family in FAMILIES if family != "t5"
} | {"t5": transformers.AutoModelForSeq2SeqLM}


def saved(family: str, folder: Path) -> PreTrainedModel:
    """A carved model, settled and saved."""
    model = settle(carved(family))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_it_gives_what_the_cut_model_gave(family: str) -> None:
    """Prevents a class whose modules are wired otherwise than those that were cut."""
    model = carved(family)
    expected = output(model)
    found = settle(model)
    assert isinstance(found, Uneven) and not found.training
    assert torch.equal(output(found), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_comes_back_from_its_folder(family: str, tmp_path: Path) -> None:
    """Prevents lost, random or swapped weights, numbers of heads that are forgotten, and a config that changes."""
    model = saved(family, tmp_path)
    again, report = AUTO[family].from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(again) is type(model) and again.config.shapes == model.config.shapes
    held = again.state_dict()
    assert all(torch.equal(held[name], value) for name, value in model.state_dict().items())
    assert torch.equal(output(again.eval()), output(model))
    again.save_pretrained(tmp_path / "again")
    first, second = ((folder / "config.json").read_text() for folder in (tmp_path, tmp_path / "again"))
    assert first == second


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sizes", [False, True], ids=["as is", "ignore_mismatched_sizes"])
def test_stock_classes_refuse_it(family: str, sizes: bool, tmp_path: Path) -> None:
    """Prevents the trap of this field: a stock class that loads the folder with random weights and says nothing."""
    model = saved(family, tmp_path)
    assert isinstance(model, Uneven)
    with pytest.raises(LOUD, match="import compress before this is opened|is a per-layer attribute"):
        model.stock.from_pretrained(tmp_path, ignore_mismatched_sizes=sizes)


@pytest.mark.parametrize("family", FAMILIES)
def test_other_heads_open_the_same_body(family: str, tmp_path: Path) -> None:
    """Prevents a folder that only the class that wrote it can read: a new task starts from the body."""
    model = saved(family, tmp_path)
    body = AutoModel.from_pretrained(tmp_path)
    own = model.base_model.state_dict()
    assert isinstance(body, Uneven)
    for name, value in body.state_dict().items():
        assert name.startswith("pooler.") or torch.equal(own[name], value), name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_config_makes_a_new_model_of_the_same_shapes(family: str) -> None:
    """Prevents `from_config` (a new head over an old body) from giving stock shapes or weights that nobody drew."""
    model = settle(carved(family))
    torch.manual_seed(0)
    made = AUTO[family].from_config(model.config)
    assert type(made) is type(model)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    assert {name: value.shape for name, value in made.state_dict().items()} == shapes
    for name, value in made.named_parameters():
        assert torch.isfinite(value).all() and float(value.detach().abs().max()) < 100, name
    assert torch.isfinite(output(made.eval())).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_copies_and_gradients_work(family: str) -> None:
    """Prevents a model that cannot be distilled: the loop copies it, trains it and recomputes its layers."""
    model = settle(carved(family))
    twin = copy.deepcopy(model)
    assert type(twin) is type(model) and torch.equal(output(twin), output(model))
    assert next(twin.parameters()) is not next(model.parameters())


def test_the_entry_is_small_and_readable(tmp_path: Path) -> None:
    """Prevents a config.json that lists what is stock, or names that only one head knows."""
    saved("bert", tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert (written["model_type"], written["stock_model_type"]) == ("stillroom-bert", "bert")
    assert written["architectures"] == ["UnevenBertForSequenceClassification"]
    layer = "encoder.layer.0.attention"
    assert written["shapes"] == {
        "modules": {
            f"{layer}.self.query": {"out": 8}, f"{layer}.self.key": {"out": 8}, f"{layer}.self.value": {"out": 8},
            f"{layer}.output.dense": {"in": 8, "rank": 3},
            "encoder.layer.1.intermediate.dense": {"out": 24}, "encoder.layer.1.output.dense": {"in": 24},
        },
        "attributes": {f"{layer}.self": {"num_attention_heads": 2, "all_head_size": 8}},
    }  # fmt: skip


def test_the_configuration_comes_back_as_one(tmp_path: Path) -> None:
    """Prevents a lock that also locks the config out of the code that reads it."""
    saved("distilbert", tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.model_type == "stillroom-distilbert" and config.stock_model_type == "distilbert"
    assert (config.num_hidden_layers, config.n_layers, config.dim) == (2, 2, 16)
    assert not config.is_heterogeneous
    assert type(config).from_dict(config.to_dict()).to_dict() == config.to_dict()
