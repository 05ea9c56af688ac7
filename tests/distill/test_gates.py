"""Gates: the scores by hand, the schedule, the choice, and weights that compute what the gates let through."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.anatomy.base import Anatomy, anatomy_of
from compress.anatomy.blocks import AttentionBlock
from compress.core.errors import InputError
from compress.core.options import Choice
from compress.distill.first_batch import look_at
from compress.distill.gates.base import GATES, Gates, parts_of
from compress.distill.gates.choose import highest
from compress.distill.gates.movement import Movement
from compress.distill.objective import Objective
from compress.distill.teacher import LiveTeacher
from compress.importance.masks import Masks, masked
from compress.losses.hard_ce import HardCE
from compress.losses.hidden_mse import HiddenMSE
from compress.train.group import Group
from tests.distill.gated import bert, objective
from tests.models import KINDS, batch, inputs_for, tiny

FAMILIES = ["distilbert", *KINDS]


def labelled() -> dict[str, Tensor]:
    return {**batch(), "labels": torch.tensor([0, 1]), "outputs": torch.ones(2, dtype=torch.bool)}


def test_a_score_is_the_movement_of_the_weights_that_read_the_part() -> None:
    """Prevents a wrong sign, place or sum: after one update the score of a part is -sum(dL/dW * W) of its columns."""
    student = bert(2, dropout=0.0)
    gates = Movement(heads=0.5, ffn=0.5, rule="sum").build(student)
    made = Objective(student, None, [HardCE()], gates=gates)
    gates.begin(10)
    for _ in range(2):  # two batches of one update
        total, _ = made(labelled())
        (total / 2).backward()
    gates.updated(1, Group())
    for part in gates.parts:
        weight = student.get_submodule(part.blocks[0]).weight
        assert isinstance(weight, torch.nn.Parameter) and weight.grad is not None
        movement = -(weight.grad * weight.detach()).sum(0).view(part.count, part.width).sum(1)
        assert torch.allclose(gates.scores[part.at], movement, atol=1e-6) and movement.abs().max() > 1e-5
    assert all(leaf.grad is None for leaf in gates.leaves()), "the next update starts at nothing"


def test_scores_add_up_and_a_shut_gate_is_still_scored() -> None:
    """Prevents scores that forget, and a gate that can never open again because its gradient is cut off."""
    student = bert(2, dropout=0.0)
    gates = Movement(ffn=0.5, warmup=0.0, rule="sum").build(student)
    made = Objective(student, None, [HardCE()], gates=gates)
    gates.begin(10)
    gates.learn(torch.linspace(-1e-9, 1e-9, 64), 1)
    gates.gates.copy_(gates.choose(9))
    before = gates.scores.clone()
    total, _ = made(labelled())
    total.backward()
    gradient = torch.cat([leaf.grad for leaf in gates.leaves() if leaf.grad is not None])
    assert gradient[gates.gates == 0].abs().max() > 1e-6
    gates.updated(10, Group())
    assert torch.equal(gates.scores, before - gradient)
    assert gates.gates.view(2, 32).sum(1).tolist() == [16, 16]


def test_adam_by_hand() -> None:
    """Prevents a loud batch that drowns the rest. Gradients (2, -1), then (2, 1), in units of their size."""
    gates = Movement(heads=0.5).build(bert(1))
    gates.learn(torch.tensor([2.0, -1.0]), 1)
    assert gates.scores.tolist() == pytest.approx([-1, 1])
    gates.learn(torch.tensor([2.0, 1.0]), 2)
    # The second's first moment is 0.9 * -0.1 + 0.1 = 0.01, corrected by 1 - 0.9^2; its second moment is 1.
    assert gates.scores.tolist() == pytest.approx([-2, 1 - 0.01 / 0.19], rel=1e-4)
    still = Movement(heads=0.5).build(bert(1))
    still.learn(torch.zeros(2), 1)
    assert still.scores.tolist() == [0, 0], "no gradient is no reason to go up or down"


class Three(Group):
    """A process whose two others have the same gradients as itself."""

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        for value in tensors:
            value.mul_(3)


def test_the_gradients_of_all_processes_are_summed() -> None:
    """Prevents scores of one process's rows, which would open other gates in each."""
    scores = []
    for group in (Group(), Three()):
        student = bert(1, dropout=0.0)
        gates = Movement(ffn=0.5, rule="sum").build(student)
        Objective(student, None, [HardCE()], gates=gates)(labelled())[0].backward()
        gates.begin(10)
        gates.updated(1, group)
        scores.append(gates.scores)
    assert torch.equal(scores[1], 3 * scores[0]) and scores[0].abs().max() > 0


def test_the_schedule_by_hand() -> None:
    """Prevents a curve that ends too early, too late or elsewhere. Half goes; from update 10 of 100 to 70."""
    options = Movement(heads=0.5, ffn=0.75)
    assert [options.share_kept("heads", done, 100) for done in (0, 9, 10)] == [1.0, 1.0, 1.0]
    assert options.share_kept("heads", 40, 100) == pytest.approx(1 - 0.5 + 0.5 * 0.5**3)
    assert options.share_kept("ffn", 25, 100) == pytest.approx(1 - 0.75 + 0.75 * 0.75**3)
    assert [options.share_kept("heads", done, 100) for done in (70, 71, 100)] == [0.5, 0.5, 0.5]
    assert options.final_from(100) == 70 and options.final_from(8) == 6
    at_once = Movement(heads=0.5, warmup=0.0, cooldown=1.0)
    assert at_once.share_kept("heads", 0, 100) == 0.5


def test_the_choice_by_hand() -> None:
    """Prevents sizes that are not allowed, an attention without a head, and ties that fall as they like."""
    one, two = torch.tensor([0.1, 0.4, 0.3, 0.2]), torch.tensor([5.0, 9.0, 7.0, 8.0])
    heads = [(1, 2, 3, 4)] * 2
    assert [open_.tolist() for open_ in highest([one, two], heads, 0.5, everywhere=False)] == [
        [False, True, True, False], [False, True, False, True],
    ]  # fmt: skip
    numbers = [int(open_.sum()) for open_ in highest([one, two], heads, 0.5, everywhere=True)]
    assert numbers == [1, 3], "the first keeps its one head, whatever the other's scores"
    assert [int(open_.sum()) for open_ in highest([one, two], heads, 0.01, everywhere=True)] == [1, 1]
    assert [int(open_.sum()) for open_ in highest([one, two], [(2, 4)] * 2, 0.6, everywhere=False)] == [2, 2]
    ties = highest([torch.zeros(40)], [(8, 16, 24, 32, 40)], 0.5, everywhere=False)[0]
    assert ties.nonzero().flatten().tolist() == list(range(24)), "20 is as near to 16: the larger, and the first ones"


def blocks_of(student: PreTrainedModel) -> list[AttentionBlock]:
    return anatomy_of(student).attention_blocks(student)


@pytest.mark.parametrize("family", FAMILIES)
def test_settled_weights_compute_what_the_gates_let_through(family: str) -> None:
    """Prevents a saved student that is not the one that was trained and measured, in any family."""
    student = tiny(family, layers=2, width=32)
    given = inputs_for(student)
    plain = student(**given).logits.detach()
    gates = Movement(heads=0.5, ffn=0.5).build(student)
    gates.attach(student)
    assert torch.equal(student(**given).logits, plain), "all gates are open at first"
    gates.begin(10)
    torch.manual_seed(3)
    gates.learn(torch.randn(len(gates.scores)), 1)
    gates.gates.copy_(gates.choose(10))
    gated = student(**given).logits.detach()
    own = {name: gates.gates[part.at] for part in gates.parts for name in part.blocks if part.kind == "heads"}
    neurons = {name: gates.gates[part.at] for part in gates.parts for name in part.blocks if part.kind == "ffn"}
    gates.settle(student)
    assert torch.equal(student(**given).logits, gated) and not torch.allclose(gated, plain)
    assert not any(module._forward_pre_hooks for module in student.modules())
    with masked(student, Masks(own, neurons)):
        assert torch.equal(student(**given).logits, gated)
    assert [entry["layer"] for entry in gates.facts()["heads"]] == sorted({b.layer for b in blocks_of(student)})
    kept = {(kind, entry["kept"], entry["of"]) for kind, entries in gates.facts().items() for entry in entries}
    assert kept == {("heads", 2, 4), ("ffn", 32, 64)}


def test_blocks_that_keep_the_same_heads_share_their_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents heads chosen apart where one table of positions serves all layers, which cannot be cut then."""
    student = tiny("bert", layers=2, width=32)
    found = [replace(block, together="bias") for block in blocks_of(student)]
    monkeypatch.setattr(Anatomy, "attention_blocks", lambda self, model: found)
    (part,) = parts_of(student, ["heads"])
    assert part.blocks == tuple(block.name for block in found)
    gates = Movement(heads=0.5).build(student)
    gates.attach(student)
    student(**inputs_for(student)).logits.sum().backward()
    assert gates.leaves()[0].grad is not None
    gates.gates.copy_(torch.tensor([1.0, 0, 0, 1]))
    gates.settle(student)
    for block in found:
        weight = student.get_submodule(block.name).weight
        assert isinstance(weight, torch.nn.Parameter)
        assert weight.view(32, 4, 8).abs().sum((0, 2)).count_nonzero() == 2


def test_bf16_stays_bf16() -> None:
    """Prevents float32 gates that turn every activation of a bf16 training into float32."""
    student = bert(1)
    gates = Movement(heads=0.5, ffn=0.5).build(student)
    gates.attach(student)
    seen: list[torch.dtype] = []
    for part in gates.parts:
        module = student.get_submodule(part.blocks[0])
        module.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        student(**batch())
    assert set(seen) == {torch.bfloat16}


def test_the_student_has_none_of_it() -> None:
    """Prevents scores or gates inside the saved model, and gates that the optimizer moves."""
    made, gates = objective()
    assert not any("gate" in name or "score" in name for name in made.student.state_dict())
    assert {"gates.scores", "gates.gates"} <= set(made.state_dict())
    assert list(gates.parameters()) == []


def test_the_record_tells_what_is_open() -> None:
    """Prevents a schedule that nobody can see afterwards."""
    made, gates = objective()
    gates.gates[: len(gates.gates) // 2] = 0
    _, record = made({**labelled()})
    assert 0 < record["ffn kept"] < 1 and record["heads kept"] == 0


def test_gates_that_no_loss_depends_on_are_refused() -> None:
    """Prevents shares taken at random: a loss on the first layer's states says nothing of the second layer."""
    student = bert(2, dropout=0.0)
    losses = [HiddenMSE(map=[[1, 1]])]
    gates = Movement(ffn=0.5).build(student)
    made = Objective(student, LiveTeacher(bert(2)), losses, gates=gates)
    with pytest.raises(InputError, match=r"no loss depends on the ffn of layer 2, so"):
        look_at(made, labelled(), "fp32")
    assert all(leaf.grad is None for leaf in gates.leaves())
    fine = Movement(ffn=0.5).build(other := bert(2, dropout=0.0))
    look_at(Objective(other, None, [HardCE()], gates=fine), labelled(), "fp32")
    assert all(leaf.grad is None for leaf in fine.leaves()), "a look must leave no gradient behind"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({}, "without one nothing would go"),
        ({"heads": 1.0}, "less than 1"),
        ({"ffn": -0.1}, "greater than or equal to 0"),
        ({"heads": 0.5, "warmup": 0.8}, "0.8 \\+ 0.3 is more than 1"),
        ({"heads": 0.5, "cooldown": 0.0}, "greater than 0"),
        ({"head": 0.5}, "head"),
    ],
)
def test_options_that_mean_nothing_are_refused(written: dict[str, Any], words: str) -> None:
    """Prevents a share of 50 for 50 %, a schedule that never ends, and a name that is silently dropped."""
    with pytest.raises(ValueError, match=words):
        Movement.model_validate(written)


def test_students_that_cannot_lose_so_much_are_refused() -> None:
    """Prevents gates on the only head of a layer, and shares that round to nothing and are reported as done."""
    with pytest.raises(InputError, match=r"heads: 0.5 of layers with 1 head takes nothing away"):
        Movement(heads=0.5).build(bert(1, width=16))
    with pytest.raises(InputError, match=r"ffn: 0.1 of layers with 32 neurons takes nothing away"):
        Movement(ffn=0.1).build(bert(1))
    with pytest.raises(InputError, match="takes nothing away"):
        Movement(ffn=0.01, scope="global").build(bert(2))
    assert len(Movement(ffn=0.1, multiple=1).build(bert(1)).scores) == 32
    other = bert(1)
    other.config.model_type = "telepath"
    with pytest.raises(InputError, match="'telepath' are not supported"):
        Movement(heads=0.5).build(other)


def test_a_training_without_updates_at_the_end_is_refused() -> None:
    """Prevents a student that is saved with gates under which it was never trained."""
    gates = Movement(ffn=0.5, cooldown=0.1).build(bert(1))
    with pytest.raises(InputError, match=r"cooldown: 0.1 of a training of 9 updates leaves none"):
        gates.begin(9)
    gates.begin(10)
    assert [gates.counts(step) for step in (8, 9, 10)] == [False, True, True]


@pytest.mark.parametrize("name", GATES.names())
def test_every_way_to_gate_names_its_source(name: str) -> None:
    """Prevents an undocumented method, and one that a recipe cannot write down and read again."""
    chosen = Choice(GATES).parse({name: {"heads": 0.5}})
    assert isinstance(chosen, Gates) and chosen.paper and type(chosen).__doc__
    assert json.loads(json.dumps(Choice.dump(chosen))) == {name: chosen.dump()}
