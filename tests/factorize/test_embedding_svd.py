"""Factorized embeddings: their error, what goes over exactly, where they may go, and which widths follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from compress.anatomy.base import anatomy_of, structure_of
from compress.anatomy.heads import head_parts
from compress.core.errors import InputError
from compress.core.family import is_uneven
from compress.factorize.base import Factorized, Job
from compress.factorize.embedding_svd import EmbeddingSvd
from compress.importance.masks import ones
from compress.prune.masked_cut import cut_masked
from compress.students.embeddings import kept_by_width, stored_tables
from compress.students.narrowing import layer_weights
from compress.students.spectrum import centred
from compress.train.facts import parameters
from tests.models import HEADS, OWN, batch, inputs_for, tiny
from tests.students.test_inits import states


def factorized(model: PreTrainedModel, head: str = "classify", counts: Any = None, **options: Any) -> Factorized:
    """The model with factorized tables."""
    job = Job(model, HEADS[head], counts=None if counts is None else lambda: counts)
    return EmbeddingSvd(**{"weighted": counts is not None, **options}).factorize(job)


@pytest.mark.parametrize(
    ("family", "head", "into"),
    [
        ("bert", "classify", "albert"),
        ("roberta", "classify", "albert"),
        ("bert", "tag", "electra"),
        ("distilbert", "classify", "electra"),
        ("electra", "classify", "electra"),
        ("albert", "classify", "albert"),
        ("bert", "mask", "electra"),
    ],
)
def test_layers_and_head_go_over_as_they_are(family: str, head: str, into: str) -> None:
    """Prevents a layer that is averaged, moved or drawn anew: given equal first states, the models are one."""
    model = tiny(family, head=head)
    made = factorized(model, head, width=6)
    assert made.model.config.model_type == into and made.facts["random"] == []
    assert parameters(made.model)["encoder"] == parameters(model)["encoder"]
    for number in range(1, 5):
        one, two = layer_weights(model, (number,)), layer_weights(made.model, (number,))
        assert all(torch.equal(one[name], two[name]) for name in one)
    if head != "mask":
        for role, part in head_parts(model).items():
            assert torch.equal(part.weight, head_parts(made.model)[role].weight)  # type: ignore[arg-type]
    assert made.lost[0] == "the norm of the embeddings acts on the narrow tables"
    assert len(made.lost) == (2 if family == "distilbert" else 1)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_with_almost_nothing_cut_the_logits_are_almost_the_models(family: str) -> None:
    """Prevents a head or a norm that is not the model's: the narrower the tables, the further off."""
    model = tiny(family)
    model.base_model.embeddings.token_type_embeddings.weight.data.zero_()
    for name in (
        "word",
        "position",
    ):  # of rank 6, so that a width of 7 (one is the mean's) cuts nothing but the norm's scale
        table = model.base_model.get_submodule(f"embeddings.{name}_embeddings")
        table.weight.data[:, 6:] = 0
    inputs = inputs_for(model)
    with torch.no_grad():
        wanted = model(**inputs).logits
        gaps = [float((factorized(model, width=width).model(**inputs).logits - wanted).norm()) for width in (8, 4)]
    assert gaps[0] < 0.05 * float(wanted.norm()) < gaps[1]


def test_the_kept_energy_is_that_of_the_singular_values() -> None:
    """Prevents an energy of other rows than the tables': by hand from the singular values of all rows together."""
    tables = stored_tables(tiny("bert"))
    counts = torch.arange(50)
    assert tables.types is not None
    for weights in (None, counts):
        share = torch.full((50,), 1 / 50).double() if weights is None else weights.double() / weights.sum()
        parts = [centred(tables.words) * share.sqrt()[:, None]]
        parts += [centred(one) / len(one) ** 0.5 for one in (tables.positions, tables.types)]
        sizes = torch.linalg.svdvals(torch.cat(parts)).square()
        kept = kept_by_width(tables, weights)
        assert float(kept[0]) == 0 and float(kept[15]) == pytest.approx(1)
        assert float(kept[7]) == pytest.approx(float(sizes[:7].sum() / sizes.sum()))


def test_frequent_tokens_count_more() -> None:
    """Prevents a weight that nothing reads: words that stand in the texts come nearer, at the others' cost."""
    model = tiny("bert")
    counts = torch.zeros(50, dtype=torch.int64)
    counts[5:9] = 10
    seen = {"input_ids": torch.tensor([[5, 6, 7, 8]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    wanted = states(model, seen)[0]
    gaps = {}
    for name, given in (("weighted", counts), ("alike", None)):
        made = factorized(model, counts=given, width=6)
        gaps[name] = float((states(made.model, seen)[0] - wanted).norm())
    assert gaps["weighted"] < 0.9 * gaps["alike"]
    with pytest.raises(InputError, match="there are none; set it to false"):
        EmbeddingSvd(width=6).factorize(Job(model, HEADS["classify"]))


def test_widths_by_energy_and_by_ratio() -> None:
    """Prevents a width that keeps less, or costs more, than was asked for."""
    model = tiny("bert")
    kept = kept_by_width(stored_tables(model))
    made = factorized(model, energy=0.6, multiple=1)
    width = made.facts["embedding"]
    assert float(kept[width - 1]) >= 0.6 > float(kept[width - 2]) and made.facts["kept_energy"] >= 0.6
    before = parameters(model)["embeddings"]
    narrow = factorized(model, ratio=0.6, multiple=1)
    assert parameters(narrow.model)["embeddings"] <= 0.6 * before
    wider = factorized(model, width=narrow.facts["embedding"] + 1)
    assert parameters(wider.model)["embeddings"] > 0.6 * before
    assert factorized(model, energy=0.3).facts["embedding"] == 8
    with pytest.raises(InputError, match=r"ratio: 0\.1 of the embeddings hold no table; use at least"):
        factorized(model, ratio=0.1, multiple=1)


@pytest.mark.parametrize("family", ["electra", "albert"])
def test_factorized_tables_can_be_made_narrower(family: str) -> None:
    """Prevents a second factorization of the product: the narrow tables are cut themselves, near what they were."""
    model = tiny(family)
    inputs = inputs_for(model)
    wanted = states(model, inputs)[0]
    gaps = [
        float((states(factorized(model, width=w).model, inputs)[0] - wanted).norm() / wanted.norm()) for w in (7, 4)
    ]
    assert gaps[0] < 0.4 and gaps[0] < gaps[1] < 1


@pytest.mark.parametrize(("family", "width"), [("bert", 16), ("albert", 8), ("electra", 12)])
def test_tables_that_are_not_narrower_are_refused(family: str, width: int) -> None:
    """Prevents a factorization that makes tables larger, and a second one that does nothing."""
    with pytest.raises(InputError, match=f"width {width} are not narrower than the model's"):
        factorized(tiny(family), width=width)


def test_layers_that_share_weights_stay_shared() -> None:
    """Prevents an ALBERT that is unrolled: the same groups, in ELECTRA nothing would shrink."""
    model = tiny("albert")
    assert parameters(factorized(model, width=4).model)["encoder"] == parameters(model)["encoder"]
    with pytest.raises(InputError, match="nothing would shrink"):
        factorized(model, width=4, into="electra")


def test_a_head_that_electra_changes_is_told() -> None:
    """Prevents a tanh that becomes a gelu without a word."""
    made = factorized(tiny("bert"), width=6, into="electra")
    assert made.lost[1] == "the head's tanh becomes the gelu of electra's head"
    assert anatomy_of(made.model).projection(made.model) is not None
    assert torch.isfinite(made.model(**batch()).logits).all()


@pytest.mark.parametrize(("family", "options"), [("mpnet", {}), ("deberta-v2", {"into": "albert"})])
def test_other_families_are_refused_by_name(family: str, options: dict[str, Any]) -> None:
    """Prevents a BERT with the weights of an attention that adds relative positions."""
    with pytest.raises(InputError, match=rf"holds a {family}, whose .*; use `low_rank`"):
        factorized(tiny(family), width=4, **options)


def test_deberta_loses_nothing_but_what_is_cut(tmp_path: Path) -> None:
    """Prevents a DeBERTa that is refused, or moved, although its own class holds narrow tables behind its norm."""
    model = tiny("deberta-v2")
    table = model.get_input_embeddings().weight
    table.data = torch.randn(50, 5) @ torch.randn(5, 16) + torch.randn(50, 1)  # rank 5 beside the mean
    inputs = inputs_for(model)
    with torch.no_grad():
        wanted = model(**inputs).logits
        made = factorized(model, width=5)
        assert torch.allclose(made.model(**inputs).logits, wanted, atol=1e-5)
        assert not torch.allclose(factorized(model, width=4).model(**inputs).logits, wanted, atol=1e-3)
    assert made.facts["family"] == "deberta-v2" and made.facts["random"] == [] and made.lost == []
    assert made.facts["kept_energy"] == pytest.approx(1)
    assert parameters(made.model)["embeddings"] == 50 * 5 + 5 * 16 + 2 * 16
    made.model.save_pretrained(tmp_path)
    opened = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(opened) is type(model) and torch.allclose(opened(**inputs).logits, wanted, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"position_biased_input": True, "type_vocab_size": 2}], ids=["v3", "v2"])
def test_all_tables_of_deberta_are_cut_and_cut_again(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents positions or types that are left out of the narrow space, and a second cut that adds to the first."""
    monkeypatch.setitem(OWN, "deberta-v2", {**OWN["deberta-v2"], **options})
    model = tiny("deberta-v2")
    inputs = structure_of(model).inputs(model, *inputs_for(model).values())
    wanted = states(model, inputs)[0]
    once = factorized(model, width=12).model
    twice, straight = factorized(once, width=6).model, factorized(model, width=6).model
    gaps = [float((states(one, inputs)[0] - wanted).norm() / wanted.norm()) for one in (once, straight, twice)]
    assert gaps[0] < 0.5 * gaps[1] and gaps[2] == pytest.approx(gaps[1], rel=1e-3)
    narrow = factorized(once, ratio=0.6, multiple=1)
    assert parameters(narrow.model)["embeddings"] <= 0.6 * parameters(once)["embeddings"]
    assert narrow.facts["embedding"] < 12


def test_an_uneven_deberta_keeps_its_shapes() -> None:
    """Prevents narrow tables that cost a pruned DeBERTa its layers."""
    model = tiny("deberta-v2", layers=2)
    masks = ones(model)
    next(iter(masks.neurons.values()))[:9] = 0
    uneven = cut_masked(model, masks)
    made = factorized(uneven, width=8).model
    assert is_uneven(made.config) and parameters(made)["encoder"] == parameters(uneven)["encoder"]


def test_a_masked_token_deberta_is_refused() -> None:
    """Prevents a head that multiplies states with a table of another width."""
    with pytest.raises(InputError, match="masked-token head of a deberta-v2"):
        factorized(tiny("deberta-v2", head="mask"), head="mask", width=4)


def test_options_that_contradict() -> None:
    """Prevents two widths, none, ratios outside 0 to 1, and a rounding that nothing reads."""
    for given in (
        {}, {"width": 8, "energy": 0.5}, {"ratio": 1.2}, {"ratio": 0.0}, {"energy": 1.0}, {"width": 2},
        {"width": 8, "multiple": 4},
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            EmbeddingSvd.model_validate(given)
