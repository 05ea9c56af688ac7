"""What every criterion must do; a new file under compress/importance is picked up by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.core.errors import InputError
from compress.importance.base import IMPORTANCES, Evidence, Scores
from compress.importance.matrices import layer_count, matrix_names
from tests.importance.tools import evidence, labelled, padded_more, row_by_row
from tests.models import kin_later, prunable, tiny

STORED = ("movement",)  # reads what a training left; its own tests say how
NAMES = [name for name in IMPORTANCES.names() if name not in STORED]
FAMILIES = ["bert", "distilbert", "roberta", "camembert", "xlm-roberta", "electra", "albert", "deberta-v2", "mpnet"]
STRUCTURES = ["gpt2", "t5"]  # no anatomy, so nothing to say of hidden units


def scored(name: str, model: PreTrainedModel, given: Evidence, parts: frozenset[str] | None = None) -> Scores:
    method = IMPORTANCES.get(name)
    return method().score(model, method.parts if parts is None else parts, given)


def flat(scores: Scores) -> dict[str, Tensor]:
    """Every tensor by part and name."""
    held = {f"{kind}.{name}": value for kind in ("heads", "neurons", "weights")
            for name, value in getattr(scores, kind).items()}  # fmt: skip
    single = {"hidden": scores.hidden, "layers": scores.layers}
    return held | {kind: value for kind, value in single.items() if value is not None}


def close(one: Scores, two: Scores) -> bool:
    """Equal up to rounding, against the largest of each."""
    mine, theirs = flat(one), flat(two)
    return mine.keys() == theirs.keys() and all(
        torch.allclose(value, theirs[name], rtol=1e-3, atol=2e-4 * float(value.abs().max()) + 1e-12)
        for name, value in mine.items()
    )


def shapes(model: PreTrainedModel, parts: frozenset[str]) -> dict[str, tuple[int, ...]]:
    """What the scores of all parts must look like."""
    structure = structure_of(model)
    found: dict[str, tuple[int, ...]] = {}
    if "heads" in parts:
        found |= {f"heads.{block.name}": (block.heads,) for block in structure.attention_blocks(model)}
    if "neurons" in parts:
        found |= {f"neurons.{block.name}": (block.neurons,) for block in structure.ffn_blocks(model)}
    if "weights" in parts:
        names = [f"{name}.weight" for name in matrix_names(model)]
        found |= {f"weights.{name}": tuple(model.get_parameter(name).shape) for name in names}
    sizes = {"hidden": structure.width(model), "layers": layer_count(model)}
    return found | {kind: (size,) for kind, size in sizes.items() if kind in parts}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", kin_later([*FAMILIES, *STRUCTURES]))
def test_every_part_of_every_family_has_a_finite_score(name: str, family: str) -> None:
    """Prevents blocks that are forgotten, scores of another shape, and NaN that sorts anywhere."""
    model = prunable(family)
    parts = IMPORTANCES.get(name).parts - ({"hidden"} if family in STRUCTURES else set())
    found = scored(name, model, evidence(model), parts)
    assert {key: tuple(value.shape) for key, value in flat(found).items()} == shapes(model, parts)
    for value in flat(found).values():
        assert value.isfinite().all() and (value >= 0).all() and value.dtype == torch.float32
        assert not value.requires_grad and value.device.type == "cpu"
    assert all(value.std() > 0 for key, value in flat(found).items() if value.numel() > 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", ["bert", "albert", "deberta-v2", "mpnet", "t5"])
def test_padding_and_batches_never_count(name: str, family: str) -> None:
    """Prevents scores that change with how texts were put into batches, or with how much they were padded."""
    model = prunable(family)
    given = evidence(model)
    parts = IMPORTANCES.get(name).parts - ({"hidden"} if family in STRUCTURES else set())
    once = scored(name, model, given, parts)
    assert close(once, scored(name, model, replace(given, batches=row_by_row(list(given.batches))), parts))
    wider = [padded_more(batch, int(model.config.pad_token_id)) for batch in given.batches]
    assert close(once, scored(name, model, replace(given, batches=wider), parts))


@pytest.mark.parametrize("name", NAMES)
def test_the_model_is_left_as_it_was(name: str) -> None:
    """Prevents a score that leaves gradients, hooks, thawed weights or eval mode behind, or draws from dropout."""
    model = tiny("bert", layers=2).train()
    model.bert.embeddings.eval()
    frozen = [weight for index, weight in enumerate(model.parameters()) if index % 2]
    for weight in frozen:
        weight.requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    needs = [weight.requires_grad for weight in model.parameters()]
    modes = [part.training for part in model.modules()]
    kept = torch.full_like(model.classifier.weight, 7.0)
    model.classifier.weight.grad = kept
    state = torch.get_rng_state()
    with torch.no_grad():
        one = scored(name, model, evidence(model))
    assert close(one, scored(name, model, evidence(model)))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [weight.requires_grad for weight in model.parameters()] == needs
    assert [part.training for part in model.modules()] == modes
    assert [weight.grad is kept for weight in model.parameters()].count(True) == 1
    assert all(weight.grad is None or weight.grad is kept for weight in model.parameters())
    hooks = [part for part in model.modules() if part._forward_hooks or part._forward_pre_hooks]
    assert hooks == []


@pytest.mark.parametrize("name", NAMES)
def test_one_part_alone_has_the_score_that_it_has_beside_others(name: str) -> None:
    """Prevents a criterion whose heads change when neurons are asked for as well."""
    model, method = tiny("bert", layers=2), IMPORTANCES.get(name)
    given = evidence(model)
    whole = flat(scored(name, model, given))
    for part in sorted(method.parts):
        alone = flat(scored(name, model, given, frozenset({part})))
        assert alone.keys() == {key for key in whole if key.partition(".")[0] == part}
        assert all(torch.allclose(value, whole[key], rtol=1e-4, atol=1e-9) for key, value in alone.items())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_refused_with_another_way(name: str) -> None:
    """Prevents a ranking by nothing, and a refusal that does not say what to do."""
    model, method = tiny("bert", layers=2), IMPORTANCES.get(name)
    for part in {"heads", "neurons", "hidden", "layers", "weights"} - method.parts:
        with pytest.raises(InputError, match=f"{name} has nothing to say of {part}; take `.*`"):
            scored(name, model, evidence(model), frozenset({part}))
    if method.reads:
        with pytest.raises(InputError, match="looks at training texts, and none were given; take `"):
            scored(name, model, Evidence())
    if method.reads == "labels":
        heads = frozenset({"heads"})
        with pytest.raises(InputError, match="no head trained for this task; take `activation`"):
            scored(name, model, evidence(model, loss=None), heads)
        bare: dict[str, Any] = {key: value for key, value in labelled(model).items() if key != "labels"}
        with pytest.raises(InputError, match="needs labelled texts, and these have none; take `activation`"):
            scored(name, model, evidence(model, batches=[bare]), heads)
