"""Whole steps on uneven models: distilled into and from, quantized, exported; minutes with torch's exporter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from compress.core.artifact import ArtifactWriter
from compress.core.errors import JobError
from compress.runtime.student import Student
from compress.shapes.models import Uneven
from compress.shapes.settle import settle
from compress.steps.base import STEPS, Context
from compress.steps.distill import Distill
from compress.train.folder import load_model, save_student
from tests.quantize.forms import LABELS, corpus_of, model_of, named, rows_of, run_step, tokenizer_of
from tests.shapes.carved import carve
from tests.shapes.test_house import student_of
from tests.teachers.helpers import Ears, small_checkpoint, small_corpus, taught

CLASSIFY = "AutoModelForSequenceClassification"


def carved_of(teacher: Path, folder: Path) -> Path:
    """The teacher, cut, as an artifact of its own."""
    loaded, writer = load_model(str(teacher), CLASSIFY), ArtifactWriter(folder)
    about = save_student(
        settle(carve(loaded.model)), loaded.tokenizer, writer.open(), task=loaded.about["task"],
        labels=loaded.labels, max_length=16, golden_rows=[{"text": "the film was lovely"}],
    )  # fmt: skip
    return writer.commit({"kind": "Model", "key": "c", "about": about, "measured": {}})


def distilled(corpus: Path, teacher: Path, student: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run `distill`, with terms that look at heads and hidden states; returns its manifest."""
    losses = ["logits_kl", {"hidden_mse": {"map": "last"}}, {"attention_mse": {"map": "last"}}, "qkv_relation_kl"]
    step = Distill.model_validate({
        "corpus": "$corpus", "teacher": "$teacher", "student": student, "losses": losses, "epochs": 2,
        "learning_rate": 5e-3, "batch_size": 16, "precision": "fp32",
    })  # fmt: skip
    writer = ArtifactWriter(folder)
    inputs = {"$corpus": corpus, "$teacher": teacher}
    context = Context("student", inputs, writer.open(), folder.parent / f"{folder.name}-work", 7, Ears())
    step.run(context)
    writer.commit({"kind": "Model", "key": "s", "about": context.about, "measured": context.measured})
    return context.about


@pytest.mark.slow
def test_prune_then_distil_and_distil_from_what_was_pruned(tmp_path: Path) -> None:
    """Prevents recovery that trains a stock shape, a step whose student does not reload, and a teacher of no use."""
    corpus = small_corpus(tmp_path / "corpus")
    teacher = taught(str(small_checkpoint(tmp_path / "body", shape={"heads": 4})), corpus, tmp_path / "teacher")
    cut = carved_of(teacher, tmp_path / "cut")
    about = distilled(corpus, teacher, {"checkpoint": {"name": str(cut)}}, tmp_path / "student")
    assert about["uneven"] is True and about["family"] == "bert"
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student")
    assert isinstance(again, Uneven)
    before = AutoModelForSequenceClassification.from_pretrained(cut)
    assert again.config.shapes == before.config.shapes
    assert not torch.equal(next(again.parameters()), next(before.parameters()))
    Student.load(tmp_path / "student").verify()
    tiny = {"tinybert": {"layers": 1, "width": 16, "heads": 2, "ffn": 32, "init": "random"}}
    about = distilled(corpus, tmp_path / "student", tiny, tmp_path / "thinner")
    assert "uneven" not in about and about["architecture"]["ffn"] == 32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "options", "engine"),
    [
        ("quantize", {"method": {"torch": {}}}, "torch"),
        ("quantize", {"method": {"onnx": {}}}, "onnx"),
        ("export", {"format": "onnx"}, "onnx"),
        ("export", {"format": "openvino"}, "openvino"),
    ],
)
def test_other_forms_are_students(verb: str, options: dict[str, Any], engine: str, tmp_path: Path) -> None:
    """Prevents a form of an uneven student that drifts from it, or that an app cannot open."""
    if engine == "openvino":
        pytest.importorskip("openvino")
    model, corpus = student_of(tmp_path / "model", "distilbert"), corpus_of(tmp_path / "corpus", "classify")
    step = STEPS.get(verb).model_validate({"model": "$model", "corpus": "$corpus", **options})
    out = run_step(step, tmp_path / "out", Ears(), model=model, corpus=corpus)
    manifest = json.loads((out / "manifest.json").read_text())
    parity = manifest["measured"]["parity"]
    assert parity["largest_logit_difference"] < (0.5 if verb == "quantize" else 1e-4)
    assert manifest["about"]["uneven"] is True and manifest["about"]["family"] == "distilbert"
    assert Student.load(out).verify().difference == pytest.approx(0.0, abs=1e-6)


def test_a_student_that_was_not_settled_is_not_kept(tmp_path: Path) -> None:
    """Prevents a folder of a stock class with other shapes: whoever forgets `settle` hears of it at once."""
    with pytest.raises((JobError, RuntimeError), match=r"mismatch|does not load as it was"):
        save_student(
            carve(model_of("bert", "classify", layers=2)), tokenizer_of("bert"), tmp_path, task=named("classify"),
            labels=LABELS["classify"], max_length=24, golden_rows=rows_of("classify")[:2],
        )  # fmt: skip
