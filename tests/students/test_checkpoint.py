"""A student that exists already, under the task's head."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from transformers import GPT2Config, GPT2ForSequenceClassification, PreTrainedModel

from compress.core.errors import InputError
from compress.core.options import refs
from compress.steps.distill import Distill
from compress.students.base import Given
from compress.students.checkpoint import CheckpointStudent
from tests.models import HEADS, batch, tiny
from tests.students.tools import saved, tokenizer_for

NAMES = {0: "bad", 1: "fair", 2: "good"}


def named(names: dict[int, str], family: str = "bert", layers: int = 2) -> PreTrainedModel:
    model = tiny(family, layers=layers)
    model.config.id2label, model.config.label2id = names, {name: index for index, name in names.items()}
    return model


def test_the_body_is_kept_and_the_head_when_its_labels_are_the_same(tmp_path: Path) -> None:
    """Prevents a checkpoint that is read and not used, or a good head that is thrown away."""
    small = named(NAMES)
    saved(small, "classify", tmp_path)
    built = CheckpointStudent(name=str(tmp_path)).build(named(NAMES, layers=4), HEADS["classify"])
    assert torch.equal(built.model(**batch()).logits, small(**batch()).logits)
    assert built.inherited["random"] == [] and built.tokenizer is not None
    assert built.tokenizer_source == str(tmp_path)


def test_a_head_of_other_labels_is_new(tmp_path: Path) -> None:
    """Prevents a head whose outputs stand in another order: it would start by answering the wrong label."""
    small = named({0: "good", 1: "fair", 2: "bad"})
    saved(small, "classify", tmp_path)
    built = CheckpointStudent(name=str(tmp_path)).build(named(NAMES), HEADS["classify"])
    body, kept = small.state_dict(), built.model.state_dict()
    assert torch.equal(
        body["bert.encoder.layer.1.output.dense.weight"], kept["bert.encoder.layer.1.output.dense.weight"]
    )
    assert not torch.equal(body["classifier.weight"], kept["classifier.weight"])
    assert built.inherited["random"] == ["classifier"] and built.model.config.id2label == NAMES
    tagger = tiny("roberta", head="tag")
    assert CheckpointStudent(name=str(tmp_path)).build(tagger, HEADS["tag"]).inherited["random"] == ["classifier"]


def test_another_number_of_labels_gives_a_new_head_of_the_teachers_size(tmp_path: Path) -> None:
    """Prevents a refusal where only the head differs."""
    saved(named(NAMES), "classify", tmp_path)
    teacher = tiny("bert", labels=5)
    built = CheckpointStudent(name=str(tmp_path)).build(teacher, HEADS["classify"])
    assert built.model(**batch()).logits.shape == (2, 5) and "classifier" in built.inherited["random"]


def test_a_step_is_resolved_and_counted_as_an_input(tmp_path: Path) -> None:
    """Prevents `$name` from being looked up as a hub name, or a change of that step from changing nothing here."""
    saved(named(NAMES), "classify", tmp_path)
    given = Given(resolve=lambda name: str(tmp_path) if name == "$small" else name)
    assert CheckpointStudent(name="$small").build(named(NAMES), HEADS["classify"], given).model.config.num_labels == 3
    step = Distill.model_validate(
        {"corpus": "$c", "teacher": "$t", "student": {"checkpoint": {"name": "$small"}}, "losses": ["hard_ce"]}
    )
    assert ("student.checkpoint.name", "$small") in {(path, name) for path, name, _ in refs(step)}


def test_a_folder_decides_the_key_and_a_missing_one_is_found_early(tmp_path: Path) -> None:
    """Prevents a stale student after the folder changed, and a fault that shows after the teacher was scored."""
    saved(named(NAMES), "classify", tmp_path / "here")
    options = {"corpus": "$c", "teacher": "$t", "losses": ["hard_ce"]}
    here = Distill.model_validate({**options, "student": {"checkpoint": {"name": str(tmp_path / "here")}}})
    assert here.files() == [tmp_path / "here"] and here.preflight() == []
    gone = Distill.model_validate({**options, "student": {"checkpoint": {"name": str(tmp_path / "gone")}}})
    assert [fault.path for fault in gone.preflight()] == ["student.checkpoint.name"]
    with pytest.raises(ValidationError):
        CheckpointStudent.model_validate({})


def test_an_unknown_family_is_refused(tmp_path: Path) -> None:
    """Prevents a student that no loss can look into."""
    config = GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=50, n_positions=20, pad_token_id=0, num_labels=3)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer_for(tiny("bert")).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="'gpt2' are not supported"):
        CheckpointStudent(name=str(tmp_path)).build(tiny("bert"), HEADS["classify"])
