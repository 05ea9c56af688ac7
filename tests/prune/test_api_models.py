"""prune_model: what it cannot be asked of some models, and how it says so; what it holds while it times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import ref

import pytest
import torch
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.factorize.base import Job as FactorJob
from compress.importance.base import Evidence
from compress.importance.fisher import Fisher
from compress.prune.base import Pruner
from compress.prune.depth import Depth
from compress.prune.ffn import Ffn
from compress.prune.heads import Heads
from compress.prune.kept_layers import keep_layers
from compress.prune.latency import Timing
from compress.prune.target import Target
from compress.prune.weights import Weights
from compress.prune.width import Width
from tests.importance.tools import evidence
from tests.models import tiny, tiny_t5
from tests.prune.test_api import counts, machine, pruned


def test_layers_that_keep_the_same_heads_are_given_one_share() -> None:
    """Shares of MPNet's layers of which only the last was read: the heads of all of them go together."""
    found = pruned(tiny("mpnet"), Heads(ratios=[0.5] * 4), Ffn(ratios=[0.0, 0.5, 0.0, 0.0]))
    assert counts(found.model) == ([2, 2, 2, 2], [32, 16, 32, 32])
    for ratios in ([0.5, 0.25, 0.5, 0.0], [0.0, 0.0, 0.0, 0.5]):
        with pytest.raises(InputError, match=r"heads: ratios: layers 1, 2, 3, 4 share .* give them the same share"):
            pruned(tiny("mpnet"), Heads(ratios=ratios))
    found = pruned(tiny_t5(), Heads(ratios=[0.25, 0.25, 0.5, 0.5, 0.5]), evidence=Evidence(), multiple=1)
    assert counts(found.model)[0] == [3, 3, *[2] * 6]


def test_models_are_made_when_they_are_timed() -> None:
    """Eleven models of BERT-base in memory at once, before the first of them was timed."""
    model, alive, most = tiny("bert"), list[Any](), list[int]()
    time = machine(model)

    def timer(models: Sequence[PreTrainedModel], tokenizer: Any) -> list[Timing]:
        found: list[Timing] = []
        for place in range(0, len(models), 2):
            for one in models[place : place + 2]:
                alive.append(ref(one))
                found += time([one], tokenizer)
                most.append(sum(held() is not None for held in alive))
        return found

    found = pruned(model, Heads(), Ffn(), Depth(), by=Fisher(), target=Target(speedup=2.5), timer=timer)
    assert max(most[:11]) <= 3
    table = next(iter(found.facts.values()))["target"]["table"]
    assert table[0]["heads"] == 4 and table[0]["neurons"] == 32 and {line["layers"] for line in table} == {1, 2, 4}


def test_what_has_one_part_only_says_so() -> None:
    """`multiple` or a ratio of 0.00 as the remedy where there is none; a short decoder that keeps its encoder long."""
    one = pruned(tiny("bert", layers=2), Heads(ratio=0.75), spread="uniform").model
    with pytest.raises(InputError, match="heads: every layer has one, which must stay"):
        pruned(one, Heads(ratio=0.5))
    with pytest.raises(InputError, match="depth: there is one layer, which must stay"):
        pruned(tiny("bert", layers=1), Depth(ratio=0.5))
    short = keep_layers(tiny_t5(layers=2), (1, 2, 3))
    found = pruned(short, Depth(ratio=0.5), evidence=Evidence())
    assert found.facts["depth"]["layers"]["kept"] in ([1, 3], [2, 3])


@pytest.mark.parametrize("part", [Heads(ratio=0.5), Depth(ratio=0.5), Width(ratio=0.5), Weights(ratio=0.5)])
def test_a_quantized_model_is_refused(part: Pruner) -> None:
    """An AttributeError of torch, or layers cut out of packed integers that no folder can hold."""
    model = torch.ao.quantization.quantize_dynamic(tiny("bert"), {torch.nn.Linear}, torch.qint8)
    with pytest.raises(InputError, match=r"quantized already .bert\..* is a torch\.ao\.nn\.quantized"):
        pruned(model, part, by=Fisher(), evidence=evidence(tiny("bert")))
    with pytest.raises(InputError, match="quantized already"):
        FactorJob(model, None)  # type: ignore[arg-type]
    held = tiny("bert")
    held.config.quantization_config = {"quant_method": "gptq"}
    with pytest.raises(InputError, match="its config has a quantization_config"):
        pruned(held, part)
    with pytest.raises(InputError, match=r"weights in torch\.bfloat16, and float32 is expected"):
        FactorJob(tiny("bert").bfloat16(), None)  # type: ignore[arg-type]


def test_what_is_met_before_heads_and_neurons_is_said() -> None:
    """`nothing would go`, when half of the layers had just gone: what to leave out instead."""
    with pytest.raises(
        InputError, match="nothing would go of heads and neurons: depth did it; leave `ffn` and `target`"
    ):
        pruned(tiny("bert"), Depth(ratio=0.75), Ffn(), by=Fisher(), target=Target(parameters=0.8))
