"""Zeros of pruned weights and what comes after them: kept and marked, or refused; never lost or declared falsely."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from compress.core.errors import FaultsError, InputError
from compress.factorize.base import Job
from compress.factorize.embedding_svd import EmbeddingSvd
from compress.factorize.low_rank import LowRank
from compress.factorize.share_layers import ShareLayers
from compress.importance.magnitude import Magnitude
from compress.pipeline.recipe import parse_recipe
from compress.prune.api import prune_model
from compress.prune.base import Pruner
from compress.prune.depth import Depth
from compress.prune.ffn import Ffn
from compress.prune.heads import Heads
from compress.prune.weights import Weights, matrices
from compress.prune.width import Width
from compress.steps.base import STEPS, Step
from compress.students.tinybert import TinyBertStudent
from compress.train.zeros import NAME, Zeros, marked
from tests.models import HEADS, tiny

CORPUS = {"model": "$m", "corpus": "$c"}


def sparse(family: str = "bert", layers: int = 2, head: str = "classify") -> PreTrainedModel:
    """A model of which two in four weights are zero."""
    return prune_model(tiny(family, layers=layers, head=head), None, [Weights(pattern="2:4")], Magnitude()).model


def whole_groups(model: PreTrainedModel) -> bool:
    """Whether all matrices are 2:4."""
    weights = (model.get_parameter(name) for name in matrices(model))
    return all(bool(((one.reshape(-1, 4) != 0).sum(1) == 2).all()) for one in weights)


def step(verb: str, **options: Any) -> Step:
    """A step over `$m` and `$c`."""
    return STEPS.get(verb).model_validate({**CORPUS, **options})


@pytest.mark.parametrize(("family", "head", "into"), [("bert", "classify", "albert"), ("bert", "tag", "electra")])
def test_the_mark_goes_along_into_another_architecture(family: str, head: str, into: str) -> None:
    """The zeros went over, their mark did not, and the repair that the documents ask for filled every one."""
    job = Job(sparse(family, head=head), HEADS[head])
    made = EmbeddingSvd(width=8, weighted=False).factorize(job)
    assert made.model.config.model_type == into and whole_groups(made.model)
    assert getattr(made.model.config, NAME)["pattern"] == "2:4"
    assert len(marked(made.model)) == len(Zeros(made.model)) == 12
    with torch.no_grad():
        zeros = Zeros(made.model)
        for value in made.model.parameters():
            value.add_(0.1)
        zeros.restore()
    assert whole_groups(made.model)
    assert not any("zeros" in said for said in made.lost)


def test_a_mean_of_layers_says_that_it_fills_zeros() -> None:
    """A mark on matrices that are dense, or zeros that went without a word; one layer's own zeros stay."""
    job = Job(sparse(), AutoModelForSequenceClassification)
    mean = ShareLayers().factorize(job)
    assert not hasattr(mean.model.config, NAME)
    assert "the zeros of pruned weights are filled in 6 of 6 matrices" in mean.lost
    anchor = ShareLayers(start="anchor").factorize(job)
    assert len(marked(anchor.model)) == 6 and whole_groups(anchor.model)
    assert not any("zeros" in said for said in anchor.lost)


@pytest.mark.parametrize("pruner", [Heads(ratio=0.5), Ffn(ratio=0.5), Width(ratio=0.5)], ids=["heads", "ffn", "width"])
def test_parts_are_not_cut_out_of_pruned_weights(pruner: Pruner) -> None:
    """Columns that go leave groups of other columns: no 2:4 any more, under a mark that says so."""
    with pytest.raises(InputError, match=r"single weights of this model were pruned \(2:4\).*prune `weights` last"):
        prune_model(sparse(), None, [pruner], Magnitude())
    refused = step("prune", what=[{pruner.registered_name: {"ratio": 0.5}}], by="magnitude")
    weights = step("prune", what=[{"weights": {"pattern": "2:4"}}], by="magnitude")
    assert "let `weights` come last" in refused.objection("model", weights)
    assert refused.objection("corpus", weights) == "" == weights.objection("model", refused)


def test_no_products_of_pruned_weights() -> None:
    """Singular values fill every zero, and the folder went on saying 2:4."""
    with pytest.raises(InputError, match="low_rank: single weights of this model were pruned"):
        LowRank.model_validate({"budget": 0.5}).factorize(Job(sparse(), AutoModelForSequenceClassification))
    weights = step("prune", what=[{"weights": {"pattern": "2:4"}}], by="magnitude")
    low = step("factorize", method={"low_rank": {"budget": 0.5}})
    svd = step("factorize", method={"embedding_svd": {"width": 8}})
    assert "let `weights` come last" in low.objection("model", weights)
    assert svd.objection("model", weights) == "" == low.objection("corpus", weights)


ORDER = """\
name: order
steps:
  c: {prepare: {source: {reviews: {rows: 600}}, task: {classify: {}}}}
  t: {teach: {corpus: $c, model: {scratch: {layers: 2, width: 32, heads: 4, ffn: 64, tokenizer: {wordpiece: {}}}}}}
  w: {prune: {model: $t, corpus: $c, what: [{weights: {pattern: "2:4"}}], by: magnitude}}
"""
RECOVERED = "distill: {corpus: $c, teacher: $t, losses: [logits_kl], "


@pytest.mark.parametrize(
    "between",
    [
        RECOVERED + "student: {checkpoint: {name: $w}}}",
        RECOVERED + "student: {tinybert: {}}, start: $w}",
        "teach: {corpus: $c, model: {pretrained: {name: $w}}}",
        "factorize: {model: $w, corpus: $c, method: {embedding_svd: {width: 8}}}",
        "factorize: {model: $w, corpus: $c, method: {share_layers: {start: anchor}}}",
        "prune: {model: $w, corpus: $c, what: [{vocab: {}}]}",
    ],
    ids=["distill", "start", "teach", "svd", "anchor", "vocab"],
)
def test_zeros_are_seen_in_a_recipe_behind_other_steps(between: str) -> None:
    """A recipe that trains for an hour and is refused then: low_rank, or heads that go, after zeros further up."""
    for last in ("factorize: {model: $b, corpus: $c, method: {low_rank: {budget: 0.5}}}",
                 "prune: {model: $b, corpus: $c, what: [{heads: {ratio: 0.5}}]}"):  # fmt: skip
        with pytest.raises(FaultsError, match=r"let `weights` come last .\$b has the matrices of \$w"):
            parse_recipe(f"{ORDER}  b: {{{between}}}\n  z: {{{last}}}\n")
    filled = "factorize: {model: $w, corpus: $c, method: {share_layers: {}}}"
    low = "factorize: {model: $b, corpus: $c, method: {low_rank: {budget: 0.5}}}"
    parse_recipe(f"{ORDER}  b: {{{filled}}}\n  z: {{{low}}}\n")


def test_layers_that_go_leave_the_mark() -> None:
    """A mark that counts twelve matrices in a model that has six; those that stay must stay sparse."""
    small = prune_model(sparse(), None, [Depth(keep=[2])], Magnitude()).model
    assert len(marked(small)) == len(Zeros(small)) == 6 and whole_groups(small)


def test_another_student_has_no_zeros_to_keep() -> None:
    """A student made from a marked teacher's config declared a pattern that none of its weights has."""
    teacher = sparse()
    student = TinyBertStudent(layers=1, width=8, heads=2, ffn=16).build(teacher, AutoModelForSequenceClassification)
    assert not hasattr(student.model.config, NAME) and len(Zeros(student.model)) == 0
    assert len(marked(teacher)) == 12
