"""Low-rank layers: the product in a model, ranks and facts, what is left alone and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.factorize.base import FACTORIZERS, Factorized, Job
from compress.factorize.low_rank import LowRank
from compress.importance.base import Evidence
from compress.prune.slicing import Slice, cut
from compress.shapes.low_rank import LowRankLinear
from compress.shapes.settle import settle
from compress.train.facts import parameters
from tests.factorize.test_seen import labelled, loss
from tests.models import HEADS, batch, inputs_for, tiny
from tests.students.tools import saved

FFN = "encoder.layer.0.intermediate.dense"


def factorized(model: PreTrainedModel, texts: Any = None, **options: Any) -> Factorized:
    """The model with low-rank matrices."""
    seen = None if texts is None else lambda count: Evidence(texts, loss)
    return LowRank.model_validate(options).factorize(Job(model, HEADS["classify"], texts=seen))


@pytest.mark.parametrize("family", ["bert", "distilbert", "albert"])
def test_the_model_computes_with_the_truncated_matrices(family: str) -> None:
    """Prevents factors in the wrong place or order: as if every matrix had been replaced by its own truncation."""
    model = tiny(family)
    made = factorized(model, rank={"rank": 3})
    dense = tiny(family)
    with torch.no_grad():
        for name in made.facts["ranks"]:
            weight = dense.get_submodule(name).get_parameter("weight")
            left, sizes, right = torch.linalg.svd(weight)
            weight.copy_(left[:, :3] @ torch.diag(sizes[:3]) @ right[:3])
        inputs = inputs_for(model)
        assert torch.allclose(made.model(**inputs).logits, dense(**inputs).logits, atol=1e-5)
        assert not torch.allclose(made.model(**inputs).logits, model(**inputs).logits, atol=1e-3)


def test_parameters_and_facts_are_what_was_planned() -> None:
    """Prevents facts that are not the model's: ranks, energies and counts, read off the model itself."""
    model = tiny("bert")
    made = factorized(model, rank={"ratio": 0.5}, modules=["query", "ffn_in"])
    saved = parameters(model)["total"] - parameters(made.model)["total"]
    matrices = made.facts["matrices"]
    assert saved == matrices["before"] - matrices["after"] > 0
    assert matrices["before"] == 4 * (16 * 16 + 16 * 32)
    found = {name: part.rank for name, part in made.model.named_modules() if isinstance(part, LowRankLinear)}
    assert found == made.facts["ranks"] and set(found.values()) == {4, 5} and len(found) == 8
    weight = model.base_model.get_submodule(FFN).get_parameter("weight")
    sizes = torch.linalg.svdvals(weight.detach().double()).square()
    assert made.facts["kept_energy"][f"bert.{FFN}"] == pytest.approx(float(sizes[:5].sum() / sizes.sum()), abs=1e-5)


def test_a_budget_over_all_matrices() -> None:
    """Prevents a budget that is spent matrix by matrix, or overspent."""
    made = factorized(tiny("bert"), budget=0.4)
    matrices = made.facts["matrices"]
    assert 0.37 * matrices["before"] < matrices["after"] <= 0.4 * matrices["before"]
    assert len(set(made.facts["ranks"].values())) > 1


def test_texts_decide_where_they_are_read() -> None:
    """Prevents `by` that changes nothing, and an activation norm that serves the texts no better than none."""
    model, seen = tiny("bert"), labelled(8)
    given = {key: seen[key] for key in ("input_ids", "attention_mask")}
    products = {}
    with torch.no_grad():
        wanted = model(**given).logits
        gaps = {}
        for by in ("plain", "fisher", "activation"):
            with torch.enable_grad():
                made = factorized(model, [seen], by=by, rank={"rank": 4})
            products[by] = made.model.base_model.get_submodule(FFN).product()  # type: ignore[operator]
            gaps[by] = float((made.model(**given).logits - wanted).norm())
    assert not torch.allclose(products["plain"], products["fisher"], atol=1e-3)
    assert gaps["activation"] < gaps["plain"]


def test_the_model_is_left_as_it_was() -> None:
    """Prevents hooks, gradients or factors that stay behind in the model that was factorized."""
    model = tiny("bert")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made = factorized(model, [labelled()], by="fisher", rank={"rank": 2})
    made.model.get_submodule(f"bert.{FFN}").up.data.zero_()  # type: ignore[union-attr, operator]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


def test_what_does_not_shrink_is_left_or_refused() -> None:
    """Prevents factors that are larger than their matrix: some stay, and with all of them it is an error."""
    made = factorized(tiny("bert"), rank={"rank": 8})  # 16 x 16 pays to rank 7, 16 x 32 to rank 10
    assert len(made.facts["unchanged"]) == 16 and len(made.facts["ranks"]) == 8
    with pytest.raises(InputError, match=r"no matrix would shrink; .* has fewer parameters up to rank 7"):
        factorized(tiny("bert"), rank={"rank": 12})


def test_a_second_time_is_refused() -> None:
    """Prevents a factorization of factors, whose ranks would be counted against the wrong matrix."""
    once = factorized(tiny("bert"), rank={"rank": 4}).model
    with pytest.raises(InputError, match="is low-rank already; start from the model that it was made from"):
        factorized(once, rank={"rank": 2})


@pytest.mark.parametrize("name", ["embedding_svd", "share_layers"])
def test_a_stock_architecture_cannot_follow(name: str) -> None:
    """Prevents a stock ALBERT filled with factors: what to do first is said."""
    once = factorized(tiny("bert"), rank={"rank": 4}).model
    options = {"width": 4, "weighted": False} if name == "embedding_svd" else {}
    with pytest.raises(InputError, match=rf"query of layer 1 is low-rank, .*; do {name} first"):
        FACTORIZERS.get(name).model_validate(options).factorize(Job(once, HEADS["classify"]))


def test_uneven_layers_can_be_low_rank_and_nothing_stock(tmp_path: Path) -> None:
    """Prevents a pruned model that loses its shapes on the way: cut first, then thin matrices, saved and loaded."""
    model, place = tiny("bert"), "bert.encoder.layer.1"
    cut(model, [Slice(f"{place}.intermediate.dense", "out", torch.arange(24)),
                Slice(f"{place}.output.dense", "in", torch.arange(24))])  # fmt: skip
    uneven = settle(model)
    made = factorized(uneven, rank={"ratio": 0.6})
    assert made.facts["ranks"][f"{place}.output.dense"] == 5 and made.facts["ranks"][f"bert.{FFN}"] == 6
    saved(made.model, "classify", tmp_path)  # loads it again and compares
    with pytest.raises(InputError, match=r"ffn_in of layer 2 has the shape \[24, 16\].*; do embedding_svd first"):
        FACTORIZERS.get("embedding_svd")(width=4, weighted=False).factorize(Job(uneven, HEADS["classify"]))


def test_texts_and_labels_are_needed_where_they_are_read() -> None:
    """Prevents a norm of nothing when there is no corpus."""
    for by in ("fisher", "activation"):
        with pytest.raises(InputError, match=f"by: {by} looks at training texts, and there are none; use plain"):
            factorized(tiny("bert"), by=by, rank={"rank": 4})
    no_loss = Job(tiny("bert"), HEADS["classify"], texts=lambda count: Evidence([batch()]))
    with pytest.raises(InputError, match="use plain or activation"):
        LowRank.model_validate({"by": "fisher", "rank": {"rank": 4}}).factorize(no_loss)


def test_options_that_contradict() -> None:
    """Prevents two sizes or none, ratios outside 0 to 1, samples that nothing reads, and a matrix named twice."""
    for given in (
        {}, {"rank": {"rank": 4}, "budget": 0.5}, {"budget": 1.5}, {"budget": 0.0}, {"rank": {"ratio": 2.0}},
        {"budget": 0.5, "samples": 8}, {"budget": 0.5, "modules": ["query", "query"]}, {"budget": 0.5, "modules": []},
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            LowRank.model_validate(given)
