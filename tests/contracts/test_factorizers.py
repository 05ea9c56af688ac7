"""What every factorizer must do; a new file under compress/factorize is picked up by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.core.errors import InputError
from compress.core.options import Choice
from compress.factorize.base import FACTORIZERS, Factorized, Factorizer, Job
from compress.importance.base import Evidence
from compress.train.facts import parameters
from tests.factorize.test_seen import labelled, loss
from tests.models import HEADS, inputs_for, tiny
from tests.students.tools import TASKS, saved

SMALL: dict[str, dict[str, Any]] = {"embedding_svd": {"width": 4}, "low_rank": {"budget": 0.5}}
FAMILIES = ("albert", "bert", "camembert", "deberta-v2", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta")


def factorizer(name: str) -> Factorizer:
    """A factorizer by name, with the options that it cannot do without."""
    made = Choice(FACTORIZERS).parse({name: SMALL.get(name, {})})
    assert isinstance(made, Factorizer)
    return made


def attempted(name: str, model: Any, head: str = "classify") -> Factorized | str:
    """The smaller model, or why it cannot be."""
    job = Job(model, HEADS[head], lambda count: Evidence([labelled()], loss), lambda: torch.arange(50))
    try:
        return factorizer(name).factorize(job)
    except InputError as refusal:
        return str(refusal)


@pytest.mark.parametrize("name", FACTORIZERS.names())
@pytest.mark.parametrize("family", FAMILIES)
def test_smaller_and_loads_again_or_refused(name: str, family: str, tmp_path: Path) -> None:
    """Prevents a model that has no fewer parameters, or that loads as something else; a family is refused by name."""
    model = tiny(family)
    made = attempted(name, model)
    if isinstance(made, str):
        assert ";" in made and (family in made or "no fewer" in made)  # what came; what to do
        return
    assert parameters(made.model)["total"] < parameters(model)["total"]
    json.dumps([made.facts, made.lost])
    inputs = inputs_for(made.model)
    with torch.no_grad():
        logits = made.model(**inputs).logits
        assert logits.shape == model(**inputs).logits.shape and torch.isfinite(logits).all()
        saved(made.model, "classify", tmp_path)  # loads it again and compares
        assert torch.equal(HEADS["classify"].from_pretrained(tmp_path).eval()(**inputs).logits, logits)


@pytest.mark.parametrize("name", FACTORIZERS.names())
@pytest.mark.parametrize("head", sorted(set(TASKS) - {"classify"}))
def test_every_head_goes_along(name: str, head: str, tmp_path: Path) -> None:
    """Prevents a head that is drawn anew."""
    made = attempted(name, tiny("bert", head=head), head)
    assert isinstance(made, Factorized) and made.facts.get("random", []) == []
    saved(made.model, head, tmp_path)


@pytest.mark.parametrize("name", FACTORIZERS.names())
def test_the_model_is_left_as_it_was(name: str) -> None:
    """Prevents a factorization that writes into its model, or shares a tensor with it that training would change."""
    model = tiny("bert")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    made = attempted(name, model)
    assert isinstance(made, Factorized)
    for weight in made.model.parameters():
        weight.data.add_(1)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not model.training and not made.model.training


@pytest.mark.parametrize("name", FACTORIZERS.names())
def test_the_same_again(name: str) -> None:
    """Prevents draws, or an order of sums, that make two factorizations of one model differ."""
    one, two = (attempted(name, tiny("bert")) for _ in range(2))
    assert isinstance(one, Factorized) and isinstance(two, Factorized)
    other = two.model.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in one.model.state_dict().items())


@pytest.mark.parametrize("name", FACTORIZERS.names())
def test_a_family_that_is_not_known_is_refused(name: str) -> None:
    """Prevents a factorization of a model that nobody has looked at."""
    model = tiny("bert")
    model.config.model_type = "longformer"
    refused = attempted(name, model)
    assert isinstance(refused, str) and "'longformer' are not supported" in refused
