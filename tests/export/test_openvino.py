"""The OpenVINO exporter on its own: files, parity, refusal."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from compress.bench.weights import tensors_of
from compress.core.errors import InputError, JobError
from compress.export import openvino
from compress.export.openvino import Openvino
from compress.export.shapes import trial_batches
from compress.runtime.engines.base import open_engine
from compress.runtime.student import Student
from compress.steps.base import STEPS
from tests.quantize.forms import LONGEST, Ears, corpus_of, model_of, run_step, student_of

INPUTS = ["input_ids", "token_type_ids", "attention_mask"]
needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs openvino")


@needs_openvino
def test_the_export_equals_eager_at_new_shapes(tmp_path: Path) -> None:
    """A graph that holds only where it was checked, or halved weights, which are OpenVINO's default."""
    model = model_of("bert", "classify")
    facts = Openvino().export(model, trial_batches(model.config, INPUTS, LONGEST), LONGEST, tmp_path)
    assert facts["dtype"] == "float32" and facts["difference_from_eager"] < 1e-5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["openvino_model.bin", "openvino_model.xml"]
    stored = [one for one in tensors_of(tmp_path / "openvino_model.xml") if one.weight]
    assert {one.kind for one in stored} == {"f32"}
    # Biases are all zero here, so that they are stored once, or not at all.
    matrices = sum(weight.numel() for weight in model.parameters() if weight.ndim == 2)
    assert sum(one.elements for one in stored if len(one.shape) == 2) == matrices
    assert any("word_embeddings" in one.name for one in stored)
    engine = open_engine("openvino", tmp_path, {"engine": {"openvino": facts}}, 1, "cpu")
    for rows, length in ((1, 2), (4, 3), (7, 31)):
        ids = torch.randint(5, 100, (rows, length))
        batch = {"input_ids": ids, "token_type_ids": torch.zeros_like(ids), "attention_mask": torch.ones_like(ids)}
        batch["attention_mask"][0, length // 2 + 1 :] = 0
        with torch.inference_mode():
            expected = model(**batch).logits
        found = torch.from_numpy(engine.run({name: tensor.numpy() for name, tensor in batch.items()}))
        assert torch.allclose(found, expected, atol=1e-5)


@needs_openvino
def test_a_difference_is_a_failed_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that computes something else and is kept."""
    model = model_of("bert", "classify")
    monkeypatch.setattr(openvino.Onnx, "export", lambda *_: {"file": "model.onnx"})
    monkeypatch.setattr(openvino, "convert", lambda *_: None)
    monkeypatch.setattr(openvino, "parity", lambda *_: float("nan"))
    with pytest.raises(JobError, match="differ from the eager model's by nan"):
        Openvino().export(model, trial_batches(model.config, INPUTS, LONGEST), LONGEST, tmp_path)


def test_without_the_package_its_pip_line_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra has another name than the package that is missed."""
    monkeypatch.setattr(openvino.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r'pip install "stillroom\[openvino\]"'):
        Openvino().export(model_of("bert", "classify"), [], LONGEST, tmp_path)


@needs_openvino
def test_the_step_writes_a_student_that_proves_itself(tmp_path: Path) -> None:
    """The weights end in `.bin`, as pickles do: an artifact that its own check refuses is of no use."""
    corpus, model = corpus_of(tmp_path / "corpus", "classify"), student_of(tmp_path / "model", "bert", "classify")
    options = {"model": "$model", "corpus": "$corpus", "format": {"openvino": {}}}
    step = STEPS.get("export").model_validate(options)
    out = run_step(step, tmp_path / "out", Ears(), model=model, corpus=corpus)
    student = Student.load(out, threads=1)
    assert (student.engine.name, student.engine.dtype) == ("openvino", "float32")
    assert student.verify().difference < 1e-5
