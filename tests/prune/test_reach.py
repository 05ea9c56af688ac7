"""Ratios and depths beside a target, and what a step says of what it was asked and of what is left."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import PreTrainedModel

from compress.anatomy.base import structure_of
from compress.core.errors import InputError
from compress.importance.base import Evidence, Scores
from compress.importance.fisher import Fisher
from compress.importance.magnitude import Magnitude
from compress.prune.base import Pruner
from compress.prune.depth import Depth
from compress.prune.ffn import Ffn
from compress.prune.heads import Heads
from compress.prune.target import Target
from compress.prune.width import Width
from compress.prune.words import in_words
from tests.models import tiny, tiny_t5
from tests.prune.test_api import counts, machine, parameters, pruned


@pytest.mark.parametrize("target", [{"parameters": 0.75}, {"size": 0.75}])
@pytest.mark.parametrize("what", [[Heads(ratio=0.5), Ffn()], [Heads(), Ffn(ratios=[0.5, 0.0, 0.0, 0.5])]])
def test_a_ratio_beside_a_counted_target_is_counted(what: list[Pruner], target: dict[str, Any]) -> None:
    """A plan that takes what a ratio has settled for parameters that stay whatever happens."""
    model = tiny("bert")
    found = pruned(model, *what, target=Target(**target))
    facts = found.facts["heads+ffn"]
    got = parameters(found.model)
    assert facts["target"]["planned"] == got <= facts["target"]["allowed"] == int(0.75 * parameters(model))
    assert facts["target"]["allowed"] - got < 400  # less than one head
    heads, neurons = counts(found.model)
    assert sum(heads) == 8 if isinstance(what[0], Heads) and what[0].decided() else neurons == [16, 32, 32, 16]


def test_a_ratio_that_is_enough_leaves_the_rest() -> None:
    """A target that is met by the heads that go, and is refused, or takes neurons all the same."""
    model = tiny("bert")
    targets: list[dict[str, Any]] = [{"parameters": 0.95}, {"speedup": 1.15}]
    for target in targets:
        found = pruned(model, Heads(ratio=0.5), Ffn(), target=Target(**target), timer=machine(model))
        assert sum(counts(found.model)[0]) == 8 and counts(found.model)[1] == [32] * 4


@pytest.mark.parametrize("target", ["parameters", "speedup"])
def test_layers_alone_may_meet_a_target(target: str) -> None:
    """A depth that reaches the target and is passed over because no neuron has to go with it."""
    model = tiny("bert")
    shorter = pruned(model, Depth(ratio=0.25)).model
    # Less than every neuron but two in each layer, more than one layer.
    aim: dict[str, Any] = (
        {"parameters": float(parameters(shorter) + 50)} if target == "parameters" else {"speedup": 1.25}
    )
    found = pruned(model, Heads(), Depth(), by=Fisher(), target=Target(**aim), timer=machine(model))
    facts = found.facts["heads+depth"]
    assert structure_of(found.model).depth(found.model) == 3 == len(facts["layers"]["kept"])
    assert counts(found.model)[0] == [4, 4, 4] and facts["proof_of_depth"]["difference"]["float64"] < 1e-10
    assert facts["target"].get("met", True) and facts["depths"][-1]["layers"] == 3
    beside = pruned(model, Heads(ratio=0.25), Ffn(), Depth(), by=Fisher(), target=Target(**aim), timer=machine(model))
    assert sum(counts(beside.model)[0]) == 3 * structure_of(beside.model).depth(beside.model)


def test_what_is_in_the_list_is_not_advised() -> None:
    """A user who is told to do what he did."""
    model = tiny("bert")
    given: dict[str, Any] = {"by": Fisher(), "timer": machine(model)}
    with pytest.raises(InputError, match=r"cannot be reached; .*: add `vocab` or `width` to `what`$"):
        pruned(model, Ffn(), Depth(), target=Target(parameters=100.0), **given)
    with pytest.raises(InputError, match=r"cannot be reached; .*: add `width` to `what`, or take another engine$"):
        pruned(model, Ffn(), Depth(), target=Target(speedup=40.0), **given)
    with pytest.raises(InputError, match=r"add `vocab`, `depth` or `width` to `what`$"):
        pruned(model, Ffn(), target=Target(parameters=100.0), **given)


@pytest.mark.parametrize("target", [{"parameters": 0.5}, {"speedup": 2.0}])
def test_an_encoder_and_a_decoder_get_shallower_together(target: dict[str, Any]) -> None:
    """Depths of all layers in one row, of which some would take a whole decoder, and none is tried."""
    model = tiny_t5(layers=3)
    found = pruned(model, Ffn(), Depth(), by=Fisher(), target=Target(**target), timer=machine(model))
    facts = found.facts["ffn+depth"]
    assert {line["layers"] for line in facts["depths"]} <= {7, 5, 3, 2} and len(facts["depths"]) > 1
    if "table" in facts["target"]:
        assert [line["layers"] for line in facts["target"]["table"][-2:]] == [2, 3]
        assert facts["target"]["met"]
    else:
        assert parameters(found.model) <= 0.5 * parameters(model)


def test_what_is_left_is_told_of_the_model_as_it_came() -> None:
    """Half of a half that is told as a half, and depths whose losses nobody can look up."""
    model = tiny("bert")
    found = pruned(model, Ffn(), Depth(), by=Fisher(), target=Target(parameters=0.45))
    facts = found.facts["ffn+depth"]
    layers, neurons = len(facts["layers"]["kept"]), sum(counts(found.model)[1])
    assert 1 <= layers < 4
    assert in_words(found.facts) == f"{4 * layers} of 16 heads, {neurons} of 128 neurons, {layers} of 4 layers"
    losses = {line["layers"]: line["loss"] for line in facts["depths"]}
    assert losses[layers] == min(losses.values())


def test_width_after_uneven_heads_says_why_not() -> None:
    """A refusal that speaks of the first layer only."""
    model = pruned(tiny("bert"), Heads(ratios=[0.75, 0.25, 0.5, 0.0])).model
    with pytest.raises(InputError, match=r"different numbers of heads \(1 to 4\).*let `width` come before"):
        pruned(model, Width(ratio=0.5))


def test_both_spreads_take_as_much_as_was_asked() -> None:
    """Heads that a criterion likes less than nothing, all of which go although a quarter was asked for."""
    model = tiny("bert")

    class Below(Magnitude):
        def score(self, model: PreTrainedModel, wanted: frozenset[str], seen: Evidence) -> Scores:
            found = super().score(model, wanted, seen)
            return Scores({name: -one for name, one in found.heads.items()}, found.neurons)

    for by in (Magnitude(), Below()):
        for spread in ("global", "uniform"):
            found = pruned(model, Heads(ratio=0.3), by=by, spread=spread)
            total = sum(counts(found.model)[0])
            assert total == (11 if spread == "global" else 12)  # 11.2, and 2.8 of each layer
            assert found.facts["heads"]["amounts"]["heads"] == {"asked": 0.3, "got": round(1 - total / 16, 4)}
