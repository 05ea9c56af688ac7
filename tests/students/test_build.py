"""Students inherit what they say they inherit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from compress.anatomy.base import anatomy_of
from compress.core.errors import InputError
from compress.runtime.engines.torch_output import raw_output
from compress.students.distilbert import DistilBertStudent
from compress.students.tinybert import TinyBertStudent
from tests.models import HEADS, batch, tiny


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("head", ["classify", "tag", "mask", "answer"])
def test_a_distilbert_of_full_depth_computes_what_its_teacher_does(family: str, head: str) -> None:
    """Prevents a wrong copy (positions, token types, norms, order of layers): same hidden states, all layers kept."""
    teacher, inputs = (
        tiny(family, head=head, labels=2 if head == "answer" else 3),
        batch(pad=1 if family == "roberta" else 0),
    )
    student = DistilBertStudent(layers=4).build(teacher, HEADS[head]).model.eval()
    mine = student(**inputs, output_hidden_states=True)
    theirs = teacher(**inputs, output_hidden_states=True)
    real = inputs["attention_mask"].bool()
    tolerance = 2e-3 if family == "roberta" else 1e-5  # DistilBERT's norms have an epsilon of 1e-12, RoBERTa's 1e-5
    for one, two in zip(mine.hidden_states, theirs.hidden_states, strict=True):
        assert torch.allclose(one[real], two[real], atol=tolerance)
    if head != "classify":  # its pooler has a tanh, DistilBERT's head a ReLU
        assert torch.allclose(raw_output(mine)[real], raw_output(theirs)[real], atol=5 * tolerance)


def test_the_map_decides_which_layers_are_copied() -> None:
    """Prevents a map that is read and not used: layer 2 of the student is layer 4 of the teacher, layer 1 is 2."""
    teacher = tiny("bert")
    built = DistilBertStudent(layers="half", map="uniform").build(teacher, HEADS["classify"])
    assert built.inherited["layers"] == {"1": 2, "2": 4}
    theirs, mine = anatomy_of(teacher).layer_list(teacher), anatomy_of(built.model).layer_list(built.model)
    source: Any = theirs[3].get_submodule("output.dense")
    target: Any = mine[1].get_submodule("ffn.lin2")
    assert torch.equal(source.weight, target.weight)
    last = DistilBertStudent(layers=1, map="first").build(teacher, HEADS["classify"])
    assert last.inherited["layers"] == {"1": 1}


def test_random_start_inherits_nothing() -> None:
    """Prevents a `random` student that got the teacher's weights: the comparison would be worthless."""
    teacher = tiny("bert")
    built = DistilBertStudent(init="random").build(teacher, HEADS["classify"])
    assert "layers" not in built.inherited
    words: Any = built.model.get_input_embeddings()
    theirs: Any = teacher.get_input_embeddings()
    assert not torch.equal(words.weight, theirs.weight)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_tinybert_takes_any_shape(family: str) -> None:
    """Prevents a shape option that nothing reads."""
    student = TinyBertStudent(layers=3, width=12, heads=3, ffn=20).build(tiny(family), HEADS["classify"]).model
    anatomy = anatomy_of(student)
    shape = anatomy.depth(student), anatomy.width(student), anatomy.heads(student), anatomy.ffn_width(student)
    assert shape == (3, 12, 3, 20)
    assert student(**batch(pad=1 if family == "roberta" else 0)).logits.shape == (2, 3)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_truncated_with_nothing_cut_is_the_teacher(family: str) -> None:
    """Prevents a truncation that permutes or forgets: the same shape must give equal outputs."""
    teacher, inputs = tiny(family), batch(pad=1 if family == "roberta" else 0)
    shape = TinyBertStudent(layers=4, width=16, heads=4, ffn=32, init="truncated")
    student = shape.build(teacher, HEADS["classify"]).model.eval()
    assert torch.equal(student(**inputs).logits, teacher(**inputs).logits)


def test_truncated_takes_the_leading_rows_and_columns() -> None:
    """Prevents a truncation that draws at random."""
    teacher = tiny("bert")
    built = TinyBertStudent(layers=2, width=8, heads=2, ffn=16, init="truncated").build(teacher, HEADS["classify"])
    mine: Any = built.model.get_input_embeddings()
    theirs: Any = teacher.get_input_embeddings()
    assert torch.equal(mine.weight, theirs.weight[:, :8])


def test_bad_shapes_are_refused_with_the_remedy() -> None:
    """Prevents a shape that fails deep inside transformers, or a student that is larger than its teacher."""
    with pytest.raises(ValidationError, match="not divisible by heads"):
        TinyBertStudent(width=312, heads=10)
    with pytest.raises(InputError, match="no deeper than its teacher"):
        DistilBertStudent(layers=5).build(tiny("bert"), HEADS["classify"])
    with pytest.raises(InputError, match="teacher layer 9"):
        DistilBertStudent(layers=2, map=[[1, 1], [2, 9]]).build(tiny("bert"), HEADS["classify"])
    with pytest.raises(InputError, match="nothing to cut it from"):
        TinyBertStudent(layers=2, width=32, heads=4, init="truncated").build(tiny("bert"), HEADS["classify"])
