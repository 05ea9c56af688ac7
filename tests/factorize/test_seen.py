"""What texts tell: second moments of inputs, and squared gradients text by text."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from compress.core.errors import InputError
from compress.factorize.seen import input_moments, row_importance
from compress.importance.base import Batch, Evidence
from tests.models import batch, tiny


def labelled(rows: int = 3) -> Batch:
    """A batch with padding and labels."""
    return {**batch(rows), "labels": torch.arange(rows) % 3}


def loss(outputs: Any, seen: Batch) -> Tensor:
    """Cross-entropy, mean over the rows."""
    return functional.cross_entropy(outputs.logits, seen["labels"])


def test_padding_does_not_count() -> None:
    """Prevents moments that padding takes part in: as if the tokens had been gathered by hand."""
    model = tiny("bert", layers=2)
    name = "bert.encoder.layer.0.attention.self.query"
    seen = labelled()
    found = input_moments(model, [name], Evidence([seen, seen]))[name]
    with torch.no_grad():
        read = model.base_model.embeddings(input_ids=seen["input_ids"])[seen["attention_mask"].bool()].double()
    assert torch.allclose(found, read.T @ read / len(read), atol=1e-6)
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_gradients_are_squared_text_by_text(family: str) -> None:
    """Prevents squares of a batch's mean gradient, in which texts cancel; a shared layer gets its whole gradient."""
    model = tiny(family, layers=2)
    place = "bert.encoder.layer.1" if family == "bert" else "albert.encoder.albert_layer_groups.0.albert_layers.0"
    name = f"{place}.attention.{'self.' if family == 'bert' else ''}value"
    seen = labelled()
    weight = model.get_submodule(name).get_parameter("weight")
    wanted = torch.zeros(16, dtype=torch.float64)
    for row in range(3):
        one = {key: value[row : row + 1] for key, value in seen.items()}
        given = {key: one[key] for key in ("input_ids", "attention_mask")}
        (gradient,) = torch.autograd.grad(loss(model(**given), one), [weight])
        wanted += gradient.double().square().sum(1) / 3
    weight.requires_grad_(False)
    found = row_importance(model, [name], Evidence([seen], loss))[name]
    assert torch.allclose(found, wanted, rtol=1e-3)
    assert not weight.requires_grad and all(one.grad is None for one in model.parameters())


def test_positions_are_no_texts() -> None:
    """Prevents DeBERTa's table of positions among the inputs, where it is as long as the texts."""
    model = tiny("deberta-v2", layers=1)
    name = "deberta.encoder.layer.0.attention.self.key_proj"
    seen: Batch = {"input_ids": torch.arange(3, 11).view(1, 8), "attention_mask": torch.ones(1, 8, dtype=torch.long)}
    found = input_moments(model, [name], Evidence([seen]))[name]
    with torch.no_grad():
        read = model.base_model.embeddings(input_ids=seen["input_ids"], mask=seen["attention_mask"]).flatten(0, 1)
    assert torch.allclose(found, read.double().T @ read.double() / len(read), atol=1e-6)


def test_labels_are_needed() -> None:
    """Prevents importance of an untrained head, or of no loss at all."""
    with pytest.raises(InputError, match="needs the loss of a trained head"):
        row_importance(tiny("bert"), [], Evidence([labelled()]))
