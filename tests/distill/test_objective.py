"""The objective: weights, projections, and a teacher that nothing can disturb."""

from __future__ import annotations

import pytest
import torch

from compress.core.errors import InputError
from compress.distill.objective import Objective
from compress.distill.teacher import LiveTeacher
from compress.losses.attention_kl import AttentionKL
from compress.losses.attention_mse import AttentionMSE
from compress.losses.base import Loss
from compress.losses.contrastive import Contrastive
from compress.losses.embedding_mse import EmbeddingMSE
from compress.losses.fsp_mse import FSPMSE
from compress.losses.hard_ce import HardCE
from compress.losses.hidden_mse import HiddenMSE
from compress.losses.logits_kl import LogitsKL
from compress.losses.logits_mse import LogitsMSE
from compress.losses.margin_mse import MarginMSE
from compress.losses.mmd import MMD
from compress.losses.pkd_mse import PKDMSE
from compress.losses.qkv_relation_kl import QKVRelationKL
from compress.losses.ranking_kl import RankingKL
from compress.losses.rkd_angle import RKDAngle
from compress.losses.rkd_distance import RKDDistance
from compress.losses.sample_relations import SampleRelations
from compress.losses.token_relations import TokenRelations
from compress.losses.value_relation_kl import ValueRelationKL
from tests.models import batch, tiny


def labelled() -> dict[str, torch.Tensor]:
    return {**batch(), "labels": torch.tensor([0, 2]), "outputs": torch.ones(2, dtype=torch.bool)}


def test_total_is_the_weighted_sum_of_the_terms() -> None:
    """Prevents a weight that is read and not used, and two losses of one name that overwrite each other's record."""
    losses = [LogitsKL(weight=0.5), LogitsMSE(weight=3.0), LogitsMSE(weight=1.0)]
    objective = Objective(tiny("bert", layers=2), LiveTeacher(tiny("bert")), losses).eval()
    total, terms = objective(labelled())
    assert set(terms) == {"logits_kl", "logits_mse", "logits_mse#3"}
    expected = 0.5 * terms["logits_kl"] + 4 * terms["logits_mse"]
    assert total.item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_teacher_stays_in_eval_mode_without_gradients_and_out_of_the_state() -> None:
    """Prevents dropout in the teacher, gradients through it, and a checkpoint that carries it."""
    teacher = tiny("bert")
    objective = Objective(tiny("bert", layers=2), LiveTeacher(teacher), [LogitsMSE(), HiddenMSE(), AttentionMSE()])
    objective.train()
    assert not teacher.training and objective.student.training
    total, _ = objective(labelled())
    total.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    mine = sum(value.numel() for value in objective.student.state_dict().values())
    assert sum(value.numel() for value in objective.state_dict().values()) == mine


def test_heads_run_only_for_losses_that_read_their_outputs() -> None:
    """Prevents paying for two task heads where states alone are compared, and a head missing where labels are."""
    ran: list[str] = []
    student, teacher = tiny("bert", layers=2), tiny("bert")
    for name, model in (("student", student), ("teacher", teacher)):
        model.classifier.register_forward_hook(lambda *_, name=name: ran.append(name))
    for losses, expected in (
        ([HiddenMSE()], []),
        ([HiddenMSE(), HardCE()], ["student"]),
        ([HiddenMSE(), LogitsKL()], ["student", "teacher"]),
    ):
        ran.clear()
        Objective(student, LiveTeacher(teacher), losses)(labelled())
        assert ran == expected


def test_projections_bridge_widths_and_never_reach_the_student() -> None:
    """Prevents projections inside the saved student, and missing ones when widths differ."""
    student = tiny("bert", layers=2, width=8)
    names = set(student.state_dict())
    objective = Objective(student, LiveTeacher(tiny("bert")), [HiddenMSE(), AttentionMSE()])
    assert sorted(name for name, _ in objective.projections.named_parameters()) == [
        "0.0.weight", "0.1.weight", "0.2.weight",
    ]  # fmt: skip
    total, _ = objective(labelled())
    total.backward()
    assert all(parameter.grad is not None for parameter in objective.projections.parameters())
    assert set(student.state_dict()) == names
    equal = Objective(tiny("bert", layers=2), LiveTeacher(tiny("bert")), [HiddenMSE()])
    assert len(equal.projections) == 0


@pytest.mark.parametrize("loss", [EmbeddingMSE(), Contrastive(), Contrastive(of="mean")])
def test_projections_bridge_widths_of_embeddings(loss: Loss) -> None:
    """Prevents embeddings of unequal width from being refused, or a projection that is made and never trained."""
    student = tiny("bert", layers=2, width=8)
    objective = Objective(student, LiveTeacher(tiny("bert"), pool=first), [loss, RKDDistance()], pool=first)
    (projection,) = objective.projections.parameters()
    assert projection.shape == (16, 8)
    total, terms = objective(batch(rows=3))
    assert torch.isfinite(terms[loss.registered_name])
    total.backward()
    assert projection.grad is not None and projection.grad.abs().sum() > 0
    equal = Objective(tiny("bert", layers=2), LiveTeacher(tiny("bert"), pool=first), [loss], pool=first)
    assert len(equal.projections) == 0


def first(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return hidden[:, 0]


def test_a_projection_for_one_loss_leaves_the_others_their_own_states() -> None:
    """Prevents relations of projected states: a loss that needs no projection must see what the student says."""
    student, teacher = tiny("bert", layers=2, width=8), tiny("bert")
    loss = SampleRelations(of="mean", map=[[2, 4]])
    alone = Objective(student, LiveTeacher(teacher), [loss]).eval()
    beside = Objective(student, LiveTeacher(teacher), [HiddenMSE(), loss]).eval()
    found = [objective(batch(rows=3))[1]["sample_relations"].item() for objective in (alone, beside)]
    assert found[0] == found[1]


def test_every_loss_reads_what_models_give() -> None:
    """Prevents a loss that works on made-up traces only: widths, heads and depth differ, and the batch is real."""
    student = tiny("bert", layers=2, width=8, labels=1)
    teacher = tiny("bert", labels=1)
    losses = [
        AttentionKL(), ValueRelationKL(), QKVRelationKL(), TokenRelations(), MMD(), SampleRelations(), RKDAngle(),
        PKDMSE(), FSPMSE(), MarginMSE(), RankingKL(),
    ]  # fmt: skip
    objective = Objective(student, LiveTeacher(teacher, pool=first), losses, pool=first)
    total, terms = objective({**batch(rows=4), "groups": torch.tensor([0, 0, 1, 1])})
    assert len(terms) == len(losses) and all(torch.isfinite(term) for term in terms.values())
    total.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in objective.parameters())


def test_without_a_teacher_only_losses_on_labels_work() -> None:
    """Prevents an undistilled student that secretly needs a teacher, and a crash deep inside when one is missing."""
    student = tiny("bert", layers=2)
    total, terms = Objective(student, None, [HardCE()])(labelled())
    assert set(terms) == {"hard_ce"} and total.requires_grad
    with pytest.raises(InputError, match="none was given"):
        Objective(student, None, [HardCE(), LogitsKL()])


@pytest.mark.parametrize("map_", ["uniform", "attention", "transport"])
def test_attention_is_there_whatever_kernel_runs(map_: str) -> None:
    """Prevents a term on attention that is empty, or refused, because sdpa gives no attention: q and k are kept."""
    values = []
    for kernel in ("eager", "sdpa"):
        student, teacher = tiny("bert", layers=2), tiny("bert")
        for model in (student, teacher):
            model.set_attn_implementation(kernel)
        losses = [AttentionMSE.model_validate({"map": map_})]
        values.append(Objective(student, LiveTeacher(teacher), losses).eval()(labelled())[0].item())
    assert values[0] > 0 and values[0] == pytest.approx(values[1], rel=1e-4)


def test_close_leaves_a_stock_model() -> None:
    """Prevents hooks that live on in the student that is saved."""
    student = tiny("bert", layers=2)
    Objective(student, LiveTeacher(tiny("bert")), [HiddenMSE()]).close()
    assert not any(module._forward_hooks for module in student.modules())


def test_a_map_past_the_depth_is_refused_before_training() -> None:
    """Prevents a job that dies after hours, or compares layers that are not there."""
    with pytest.raises(InputError, match="teacher layer 7"):
        Objective(tiny("bert", layers=2), LiveTeacher(tiny("bert")), [HiddenMSE(map=[[1, 7]])])
