"""What every pruner must do in every family; new files in compress/prune and compress/anatomy are found by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassFieldValidationError
from pydantic import ValidationError
from transformers import PreTrainedModel

from compress.anatomy.base import prunable_families
from compress.core.errors import InputError
from compress.core.options import Choice
from compress.importance.base import Evidence
from compress.importance.magnitude import Magnitude
from compress.prune.api import Pruned, prune_model
from compress.prune.base import PRUNERS, Pruner
from tests.models import batch, kin_later, prunable

LOUD = (AttributeError, StrictDataclassFieldValidationError)  # what a stock class says of uneven shapes
ASKED: dict[str, dict[str, Any]] = {
    "heads": {"ratio": 0.5},
    "ffn": {"ratio": 0.5},
    "depth": {"ratio": 0.5},
    "width": {"ratio": 0.5},
    "weights": {"ratio": 0.5},
}
STOCK = ("depth", "ffn", "weights", "width")  # with the same counts in every layer
SAME_SIZE = {("depth", "albert")}  # runs of one stored layer: fewer runs, the same weights
NAMES = sorted(set(PRUNERS.names()) - {"vocab"})  # whose tokenizers tests/prune/test_vocab.py makes


def asked(name: str, **options: Any) -> Pruner:
    """A pruner by name."""
    made = Choice(PRUNERS).parse({name: {**ASKED.get(name, {}), **options}})
    assert isinstance(made, Pruner)
    return made


def inputs(model: PreTrainedModel) -> dict[str, Any]:
    """Two rows, one of them padded, that any family reads."""
    pad = model.config.pad_token_id
    given: dict[str, Any] = batch(pad=0 if pad is None else int(pad))
    if model.config.is_encoder_decoder:
        given["decoder_input_ids"] = given["input_ids"][:, :3]
    return given


def attempted(name: str, model: PreTrainedModel, **options: Any) -> Pruned | str:
    """The smaller model, or why it cannot be."""
    try:
        seen = Evidence([batch()]) if not model.config.is_encoder_decoder else Evidence()
        return prune_model(
            model, None, [asked(name, **options)], Magnitude(), evidence=seen, spread="uniform", multiple=2
        )
    except InputError as refusal:
        return str(refusal)


def parameters(model: PreTrainedModel) -> int:
    """How many there are."""
    return sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize("family", kin_later(prunable_families()))
@pytest.mark.parametrize("name", NAMES)
def test_smaller_proven_and_loaded_again(name: str, family: str, tmp_path: Path) -> None:
    """A pruner that removes nothing, counts wrong, changes its input, or leaves a model that loads as another one."""
    model = prunable(family)
    before, kept = parameters(model), {key: value.clone() for key, value in model.state_dict().items()}
    found = attempted(name, model)
    assert all(torch.equal(kept[key], value) for key, value in model.state_dict().items())
    if isinstance(found, str):
        assert family in found and (";" in found or "supported" in found), found  # what came, what to do
        return
    facts = found.facts["parameters"]
    assert facts == {"before": before, "after": parameters(found.model)}
    if name != "weights" and (name, family) not in SAME_SIZE:
        assert facts["after"] < before
        assert found.facts[name]["proof"]["difference"]["float64"] < 1e-10
    found.model.save_pretrained(tmp_path)
    opened, report = type(found.model).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    with torch.no_grad():
        one, two = (each.eval()(**inputs(model)).logits for each in (found.model, opened))
    assert torch.equal(one, two) and torch.isfinite(one).all()
    if name in STOCK:
        assert type(found.model) is type(model)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"weights"}))
def test_ratios_outside_0_and_1_are_refused(name: str) -> None:
    """A ratio in per cent, or one that takes everything or nothing, that is found after an hour."""
    for ratio in (0.0, 1.0, -0.5, 50.0):
        with pytest.raises(ValidationError, match="ratio"):
            PRUNERS.get(name).model_validate({"ratio": ratio})


@pytest.mark.parametrize("family", ["bert", "deberta-v2", "mpnet", "distilbert"])
def test_uneven_layers_open_through_the_auto_classes(family: str, tmp_path: Path) -> None:
    """Layers of different heads and neurons that come back as random weights, or not at all."""
    from transformers import AutoModelForSequenceClassification

    model = prunable(family)
    shares = [0.5 if number % 2 else 0.0 for number in range(model.config.num_hidden_layers)]
    what: list[Pruner] = [asked("ffn", ratio=None, ratios=shares)]
    if family != "mpnet":  # whose layers share one table of positions
        what.append(asked("heads", ratio=None, ratios=shares[::-1]))
    found = prune_model(model, None, what, Magnitude(), multiple=2)
    counts = next(iter(facts for name, facts in found.facts.items() if "ffn" in name))["neurons"]["after"]
    assert len(set(counts)) == 2
    found.model.save_pretrained(tmp_path)
    opened = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(opened(**inputs(model)).logits, found.model.eval()(**inputs(model)).logits)
    with pytest.raises(LOUD, match=r"import compress before this is opened|is a per-layer attribute"):
        type(model).from_pretrained(tmp_path)
