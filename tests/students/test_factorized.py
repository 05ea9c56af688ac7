"""ALBERT and ELECTRA: tables by singular values, one layer from many, and teachers that are factorized themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from compress.anatomy.base import anatomy_of
from compress.core.errors import InputError
from compress.export.onnx import Onnx
from compress.export.shapes import trial_batches
from compress.shapes.low_rank import LowRankLinear
from compress.students.albert import AlbertStudent
from compress.students.base import STUDENTS
from compress.students.bert import BertStudent
from compress.students.electra import ElectraStudent
from compress.students.embeddings import factors, tables_of
from compress.students.spectrum import centred
from compress.students.tinybert import TinyBertStudent
from compress.train.facts import architecture, parameters
from tests.models import HEADS, batch, inputs_for, tiny
from tests.students.test_inits import states


def layer_of(model: Any, number: int) -> dict[str, torch.Tensor]:
    anatomy = anatomy_of(model)
    layer = anatomy.layer_list(model)[number - 1]
    return {name: layer.get_parameter(f"{getattr(anatomy, name)}.weight") for name in ("query", "ffn_out", "ffn_norm")}


def test_the_tables_are_the_best_of_their_rank() -> None:
    """Prevents a factorization that is not: what is left is the tail of the singular values of all tables together."""
    tables = tables_of(tiny("bert"))
    assert tables.types is not None
    rows = torch.cat([centred(table) / len(table) ** 0.5 for table in (tables.words, tables.positions, tables.types)])
    space, kept = factors(tables, 8)
    left = (rows - rows @ space.double() @ space.double().T).square().sum()
    sizes = torch.linalg.svdvals(rows).square()
    assert torch.isclose(left, sizes[7:].sum(), rtol=1e-4)  # one of the 8 is the mean, which the norm takes out
    assert abs(kept - float(sizes[:7].sum() / sizes.sum())) < 1e-6


@pytest.mark.parametrize("name", ["albert", "electra"])
def test_tables_as_wide_as_the_layers_are_the_teachers(name: str) -> None:
    """Prevents a wrong scale or side: with nothing cut, what the first layer reads is what the teacher's reads."""
    teacher = tiny("bert")
    built = STUDENTS.get(name).model_validate({"embedding": 16, "layers": "all"}).build(teacher, HEADS["classify"])
    assert torch.allclose(states(built.model, batch())[0], states(teacher, batch())[0], atol=1e-4)


@pytest.mark.parametrize("name", ["albert", "electra"])
@pytest.mark.parametrize("head", ["classify", "tag", "mask"])
def test_narrow_tables_come_near(name: str, head: str) -> None:
    """Prevents a start that is as far off as a random one: narrow tables must give most of what the teacher reads."""
    teacher = tiny("bert", head=head)
    made = {}
    for init in ("svd", "random"):
        options = {"embedding": 14, "layers": "all", "init": init}
        made[init] = STUDENTS.get(name).model_validate(options).build(teacher, HEADS[head]).model
    wanted = states(teacher, batch())[0]
    near, far = ((states(made[init], batch())[0] - wanted).norm() / wanted.norm() for init in ("svd", "random"))
    assert near < 0.5 < far


def test_an_electra_without_a_projection_is_its_teacher() -> None:
    """Prevents a lookup of the projection that ELECTRA drops for tables as wide as its layers: it is a BERT then."""
    teacher = tiny("bert", head="mask")
    built = ElectraStudent(embedding=16, layers="all").build(teacher, HEADS["mask"])
    assert torch.allclose(built.model.eval()(**batch()).logits, teacher(**batch()).logits, atol=1e-3)


def test_the_shared_layer_is_the_mean_or_the_one_that_was_chosen() -> None:
    """Prevents a `layer` that nothing reads, and a mean over some layers only."""
    teacher = tiny("bert")
    mean = AlbertStudent(embedding=8).build(teacher, HEADS["classify"])
    chosen = AlbertStudent(embedding=8, layer=3, layers=7).build(teacher, HEADS["classify"])
    assert mean.inherited["layers"]["1"] == [1, 2, 3, 4] and chosen.inherited["layers"]["7"] == 3
    for name, weight in layer_of(mean.model, 1).items():
        every = torch.stack([layer_of(teacher, number)[name] for number in range(1, 5)])
        assert torch.allclose(weight, every.mean(0), atol=1e-6)
        assert torch.equal(layer_of(chosen.model, 1)[name], layer_of(teacher, 3)[name])
    assert anatomy_of(chosen.model).depth(chosen.model) == 7
    assert AlbertStudent(embedding=8, layers="half").build(teacher, HEADS["classify"]).inherited["shape"]["layers"] == 2


def test_an_albert_stores_one_layer_whatever_its_depth() -> None:
    """Prevents an ALBERT of several groups: parameters do not grow with depth, and the projection is embedding."""
    two, four = (
        AlbertStudent(embedding=8, layers=layers).build(tiny("bert"), HEADS["classify"]).model for layers in (2, 4)
    )
    assert parameters(two) == parameters(four)
    tables = (50 + 20 + 2) * 8 + 2 * 8
    assert parameters(two)["embeddings"] == tables + 8 * 16 + 16
    assert architecture(two)["embedding"] == 8 and "embedding" not in architecture(tiny("bert"))


@pytest.mark.parametrize("family", ["electra", "albert"])
def test_a_factorized_teacher_keeps_its_own_tables(family: str) -> None:
    """Prevents multiplying out what the student could take as it is."""
    teacher = tiny(family)
    student = STUDENTS.get("electra").model_validate({"embedding": 8, "layers": 4}).build(teacher, HEADS["classify"])
    assert torch.allclose(states(student.model, batch())[0], states(teacher, batch())[0], atol=1e-6)


@pytest.mark.parametrize("family", ["electra", "albert"])
def test_a_factorized_teacher_starts_a_plain_student_nearly(family: str) -> None:
    """Prevents a shape error, or a start at random, where the teacher's two factors can be multiplied out."""
    teacher = tiny(family)
    built = BertStudent(layers=2, init="copy").build(teacher, HEADS["classify"])
    near = (states(built.model, batch())[0] - states(teacher, batch())[0]).norm() / states(teacher, batch())[0].norm()
    assert near < 0.4 and any("multiplied out" in fact for fact in built.inherited["embeddings"])
    masked = BertStudent(layers=2, init="copy").build(tiny(family, head="mask"), HEADS["mask"])
    assert "cls.predictions.transform.dense" in masked.inherited["random"]


def test_an_electra_teacher_of_a_narrow_student_of_its_family() -> None:
    """Prevents tables that are wider than the layers: ELECTRA would drop the projection and load nothing."""
    built = TinyBertStudent(layers=2, width=8, heads=2, ffn=16, init="svd").build(tiny("electra"), HEADS["classify"])
    assert built.model.config.embedding_size == 8 and built.inherited["random"] == []
    assert torch.isfinite(built.model(**batch()).logits).all()


@pytest.mark.parametrize("family", ["electra", "albert"])
def test_a_projection_may_be_a_product_itself(family: str) -> None:
    """Prevents an assertion in place of the first state of a teacher whose projection somebody made low-rank."""
    model, plain = tiny(family), tiny(family)
    projection = anatomy_of(plain).projection(plain)
    assert isinstance(projection, nn.Linear)
    thin = LowRankLinear(8, 16, 8)
    thin.weight.data, thin.up.data = torch.eye(8), projection.weight.detach().clone()
    assert thin.bias is not None
    thin.bias.data = projection.bias.detach().clone()
    place, _, name = anatomy_of(model).embedding_projection.rpartition(".")
    setattr(model.base_model.get_submodule(place), name, thin)
    assert anatomy_of(model).state_part(model, 0) is thin
    assert torch.allclose(tables_of(model).words, tables_of(plain).words, atol=1e-6)
    assert torch.allclose(tables_of(model).shift, tables_of(plain).shift, atol=1e-6)


def test_wide_tables_are_refused() -> None:
    """Prevents tables that are wider than what reads them, which compress nothing."""
    for student in (AlbertStudent, ElectraStudent):
        with pytest.raises(ValidationError, match="wider than the width 64"):
            student(embedding=128, width=64)
        with pytest.raises(InputError, match="use at most 16"):
            student().build(tiny("bert"), HEADS["classify"])
    with pytest.raises(ValidationError, match="an ALBERT has one"):
        AlbertStudent(init="first")
    with pytest.raises(InputError, match="use 1 to 4, or average"):
        AlbertStudent(embedding=8, layer=5).build(tiny("bert"), HEADS["classify"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["albert", "electra"])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_the_onnx_file_of_a_factorized_student_equals_it(name: str, family: str, tmp_path: Path) -> None:
    """Prevents shared layers or projections that the exporter writes wrongly: compared on batches of every shape."""
    built = STUDENTS.get(name).model_validate({"embedding": 8}).build(tiny(family), HEADS["classify"])
    inputs = [
        name for name in ("input_ids", "token_type_ids", "attention_mask") if family == "bert" or "type" not in name
    ]
    facts = Onnx().export(built.model, trial_batches(built.model.config, inputs, 16), 16, tmp_path)
    assert facts["difference_from_eager"] < 1e-4
    assert torch.isfinite(built.model(**inputs_for(built.model)).logits).all()
