"""`settle`: when the stock class stays, when it comes back, what is kept, and what no folder can express."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForMaskedLM, BertForSequenceClassification

from compress.anatomy.base import ANATOMIES
from compress.core.errors import JobError
from compress.shapes.models import Uneven
from compress.shapes.settle import settle
from tests.shapes.carved import (
    ENCODERS,
    FAMILIES,
    carved,
    cut_heads,
    cut_neurons,
    low_rank,
    narrow,
    output,
    put,
    stock,
)

BERT: Any = ANATOMIES.get("bert")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_nothing_was_cut_from_stays_what_it_is(family: str) -> None:
    """Prevents a plain Hugging Face folder from needing Stillroom to be opened."""
    model = stock(family)
    assert settle(model) is model


@pytest.mark.parametrize("written", [False, True], ids=["config as it was", "config written"])
@pytest.mark.parametrize("family", ENCODERS)
def test_neurons_cut_alike_in_all_layers_are_stock(family: str, written: bool, tmp_path: Path) -> None:
    """Prevents an uneven folder where the config has a number for it, whether or not the pruner wrote it."""
    model, anatomy = stock(family), ANATOMIES.get(family)
    for layer in dict.fromkeys(anatomy().layer_list(model)):
        narrow(layer, anatomy.ffn_in, outs=24)
        narrow(layer, anatomy.ffn_out, ins=24)
    if written:
        setattr(model.config, anatomy.config_names["ffn"], 24)
    expected = output(model)
    found = settle(model)
    assert found is model and type(found) is type(stock(family))
    found.save_pretrained(tmp_path)
    again = type(found).from_pretrained(tmp_path)
    assert torch.equal(output(again.eval()), expected)


def test_a_second_cut_is_written_over_the_first(tmp_path: Path) -> None:
    """Prevents pruning twice from keeping the shapes of the first time."""
    model = settle(carved("bert"))
    cut_neurons(model, BERT, 0, 8)
    again = settle(model)
    assert again.config.shapes["modules"]["encoder.layer.0.intermediate.dense"] == {"out": 8}
    assert again.config.shapes["modules"]["encoder.layer.1.intermediate.dense"] == {"out": 24}
    again.save_pretrained(tmp_path)
    assert torch.equal(output(type(again).from_pretrained(tmp_path).eval()), output(again))


def test_a_second_cut_can_lead_back_to_the_stock_class(tmp_path: Path) -> None:
    """Prevents a model that became even from staying one that only Stillroom opens."""
    model = stock("bert")
    cut_neurons(model, BERT, 1, 24)
    model = settle(model)
    assert isinstance(model, Uneven)
    cut_neurons(model, BERT, 0, 24)
    expected = output(model)
    found = settle(model)
    assert type(found) is BertForSequenceClassification and found.config.intermediate_size == 24
    assert found.config.model_type == "bert" and torch.equal(output(found), expected)
    found.save_pretrained(tmp_path)
    assert torch.equal(output(BertForSequenceClassification.from_pretrained(tmp_path).eval()), expected)


def test_weights_are_the_same_tensors_as_frozen_and_as_shared_as_before() -> None:
    """Prevents an optimizer or a freeze that holds on to weights which the settled model no longer has."""
    model = carved("bert", head="mask")
    model.base_model.embeddings.requires_grad_(False)
    before = dict(model.named_parameters())
    found: Any = settle(model)
    assert all(before[name] is value for name, value in found.named_parameters())
    assert found.cls.predictions.decoder.weight is found.bert.embeddings.word_embeddings.weight
    assert not found.bert.embeddings.word_embeddings.weight.requires_grad


def test_a_model_in_training_stays_in_training() -> None:
    """Prevents dropout that is off for the rest of a run."""
    assert settle(carved("bert").train()).training


@pytest.mark.parametrize("family", ENCODERS)
def test_tied_embeddings_stay_tied(family: str, tmp_path: Path) -> None:
    """Prevents a masked-token head that comes back with a decoder of its own."""
    model = settle(carved(family, head="mask"))
    model.save_pretrained(tmp_path)
    again = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert again.get_output_embeddings().weight is again.get_input_embeddings().weight
    assert torch.equal(output(again.eval()), output(model))


def test_a_head_of_another_size_belongs_to_its_class_alone(tmp_path: Path) -> None:
    """Prevents DistilBERT's pre_classifier from being looked for under a head that has none."""
    model = stock("distilbert")
    low_rank(model, "pre_classifier")
    found = settle(model)
    assert found.config.shapes == {
        "head": {"class": "DistilBertForSequenceClassification", "modules": {"pre_classifier": {"rank": 3}}}
    }
    found.save_pretrained(tmp_path)
    assert torch.equal(output(type(found).from_pretrained(tmp_path).eval()), output(found))
    other = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert isinstance(other, Uneven) and other.vocab_transform.weight.shape == (16, 16)


def test_heads_of_another_width_keep_their_scale() -> None:
    """Prevents scores divided by the root of a head width that the config computes and the model does not have."""
    model = stock("bert")
    cut_heads(model, BERT, 2)
    holder: Any = model.bert.encoder.layer[1].attention.self
    for name in ("query", "key", "value"):
        narrow(holder, name, outs=8)
    narrow(model.bert.encoder.layer[1], "attention.output.dense", ins=8)
    holder.attention_head_size, holder.all_head_size, holder.scaling = 2, 8, 2**-0.5
    found = settle(model)
    assert found.config.shapes["attributes"]["encoder.layer.1.attention.self"]["scaling"] == 2**-0.5
    assert torch.equal(output(found), output(model))


def _one_layer_less(model: Any) -> None:
    model.bert.encoder.layer = model.bert.encoder.layer[:1]


def _another_kind(model: Any) -> None:
    model.bert.encoder.layer[0].intermediate.dense = nn.Bilinear(2, 2, 2)


def _a_vocabulary(model: Any) -> None:
    model.cls.predictions.bias = nn.Parameter(torch.zeros(3))


def _a_number(model: Any) -> None:
    model.bert.encoder.layer[0].chunk_size_feed_forward = 7


def _a_tied_product(model: Any) -> None:
    low_rank(model, "cls.predictions.decoder")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (_one_layer_less, "set the number of layers in its config"),
        (_another_kind, "is a Bilinear where the architecture has a Linear"),
        (_a_vocabulary, r"has bias \[3\] where the config says \[50\]"),
        (_a_number, "has chunk_size_feed_forward 7 where its config gives 0"),
        (_a_tied_product, "shares its weights"),
    ],
)
def test_what_no_folder_can_express_is_refused(break_it: Any, message: str) -> None:
    """Prevents a folder that does not hold the model that was saved into it."""
    model = stock("bert", head="mask")
    break_it(model)
    with pytest.raises(JobError, match=message):
        settle(model)


def test_layers_that_are_left_are_counted_anew() -> None:
    """Prevents a cache that looks for layer 1 of a GPT-2 whose only layer was the second."""
    model: Any = stock("gpt2")
    model.transformer.h = model.transformer.h[1:]
    model.config.n_layer = 1
    assert settle(model) is model and model.transformer.h[0].attn.layer_idx == 0


def test_put_is_seen() -> None:
    """Prevents the tests of this file from passing because nothing was cut."""
    model = stock("bert")
    put(model, "bert.pooler.dense", nn.Linear(16, 16))
    assert settle(model) is model
    narrow(model, "bert.pooler.dense", outs=8)
    narrow(model, "classifier", ins=8)
    assert isinstance(settle(model), Uneven)
