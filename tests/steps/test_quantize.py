"""quantize and export, as a recipe runs them, on tiny students of every family and task."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from compress.core.errors import InputError
from compress.runtime.student import Student
from compress.steps.base import STEPS
from tests.quantize.forms import LONGEST, Ears, corpus_of, model_of, rows_of, run_step, student_of

ONNX_PAIRS = [
    ("bert", "pair"),
    ("roberta", "tag"),
    ("distilbert", "embed"),
    pytest.param("bert", "answer", marks=pytest.mark.slow),
    pytest.param("roberta", "multilabel", marks=pytest.mark.slow),
    pytest.param("distilbert", "mask", marks=pytest.mark.slow),
    pytest.param("bert", "mask", marks=pytest.mark.slow),
    pytest.param("distilbert", "classify", marks=pytest.mark.slow),
    pytest.param("roberta", "regress", marks=pytest.mark.slow),
]
TORCH_PAIRS = [
    ("bert", "pair"),
    ("roberta", "classify"),
    ("distilbert", "regress"),
    ("bert", "tag"),
    ("roberta", "mask"),
    ("bert", "multilabel"),
    ("distilbert", "answer"),
    ("bert", "embed"),
]


def step(verb: str, **options: Any) -> Any:
    """A step over `$model` and `$corpus`."""
    return STEPS.get(verb).model_validate({"model": "$model", "corpus": "$corpus", **options})


def made(folder: Path, verb: str, family: str, task: str, **options: Any) -> tuple[Path, Path, Ears]:
    """The float student, the step's artifact, and what was said."""
    ears = Ears()
    model, corpus = student_of(folder / "model", family, task), corpus_of(folder / "corpus", task)
    return model, run_step(step(verb, **options), folder / "out", ears, model=model, corpus=corpus), ears


def checked(out: Path, engine: str, task: str) -> dict[str, Any]:
    """The manifest of an int8 folder that opens, answers, and proves itself."""
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    student = Student.load(out)
    assert (student.engine.name, student.engine.dtype) == (engine, "int8")
    assert student.verify().difference == 0.0
    parity, facts = manifest["measured"]["parity"], manifest["about"]["engine"][engine]
    low, high = parity["interval"]
    assert low <= parity["difference"] <= high
    assert parity["in_batches"]["batch_size"] == 32 and student.engine.mixes_rows
    inputs = json.loads((out / "golden.json").read_text())["inputs"]
    together, apart = student.logits(inputs), [student.logits([one])[0] for one in inputs]
    assert all(np.array_equal(one, two) for one, two in zip(together, apart, strict=True)), "a text's neighbours count"
    assert parity["rows"] == 40 and 0 < parity["largest_logit_difference"] < 0.5
    assert task in ("regress", "embed") or (parity["agreement"] > 0.8 and 0 <= parity["kl"] < 0.05)
    assert facts["weights"]["int8_share"] > 0.9
    assert manifest["measured"]["size"]["this"] > 0 and (out / "README.md").read_text().count("int8")
    return manifest


@pytest.mark.parametrize(("family", "task"), ONNX_PAIRS)
def test_int8_onnx_is_a_student(
    tmp_path: Path, family: str, task: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """An int8 folder that does not load, has float tables, or whose exporter chats over the progress bars."""
    with caplog.at_level(logging.INFO):
        model, out, ears = made(tmp_path, "quantize", family, task, method={"onnx": {}})
    manifest = checked(out, "onnx", task)
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert manifest["about"]["parameters"] == json.loads((model / "manifest.json").read_text())["about"]["parameters"]
    assert not (out / "model.safetensors").exists() and not (out / "model.onnx.data").exists()
    text = (out / "model.onnx").read_bytes()
    assert b"site-packages" not in text and str(Path(__file__).parent).encode() not in text
    session = onnxruntime.InferenceSession(str(out / "model.onnx"))
    assert [node.name for node in session.get_outputs()] == ["logits"]
    assert {node.name for node in session.get_inputs()} == set(manifest["about"]["inputs"])
    with pytest.raises(InputError, match=r"already int8 for the engine onnx; give the float student"):
        run_step(step("quantize", method="onnx"), tmp_path / "twice", ears, model=out, corpus=tmp_path / "corpus")


@pytest.mark.parametrize(("family", "task"), TORCH_PAIRS)
def test_int8_torch_is_a_student(tmp_path: Path, family: str, task: str, capfd: pytest.CaptureFixture[str]) -> None:
    """An int8 folder by torch that only the process that made it can open, or that a stock class loads as garbage."""
    _, out, _ = made(tmp_path, "quantize", family, task, method={"torch": {}})
    checked(out, "torch", task)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(OSError, match=r"model\.safetensors"):
        type(model_of(family, task)).from_pretrained(out)
    assert "pipeline(" not in (out / "README.md").read_text()


def test_a_drop_is_told(tmp_path: Path) -> None:
    """A student ruined by quantization that passes without a word."""
    _, _, ears = made(tmp_path, "quantize", "bert", "regress", method="torch", max_drop=0.0)
    before = len(ears.warnings)
    assert before <= 1
    if ears.warnings:
        assert "points of dev spearman" in ears.warnings[0] and "max_drop" in ears.warnings[0]


def test_another_corpus_is_refused(tmp_path: Path) -> None:
    """A student compared on a corpus of other labels: a parity that means nothing."""
    model, corpus = student_of(tmp_path / "model", "bert", "pair"), corpus_of(tmp_path / "corpus", "regress")
    with pytest.raises(InputError, match="is a student for classify, and the corpus is for regress"):
        run_step(step("quantize", method="torch"), tmp_path / "out", Ears(), model=model, corpus=corpus)


@pytest.mark.slow
def test_export_is_a_student_too(tmp_path: Path) -> None:
    """A float ONNX folder whose outputs drift from the student's."""
    _, out, _ = made(tmp_path, "export", "bert", "classify", format="onnx")
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["measured"]["parity"]["largest_logit_difference"] < 1e-5
    assert manifest["measured"]["parity"]["agreement"] == 1.0
    assert Student.load(out).verify().difference == 0.0
    with pytest.raises(InputError, match="already float32 for the engine onnx"):
        run_step(step("quantize", method="onnx"), tmp_path / "two", Ears(), model=out, corpus=tmp_path / "corpus")


def test_a_missing_folder_is_seen_before_anything_runs() -> None:
    """A path with a typing error that is found after the teacher was trained."""
    (fault,) = (
        STEPS.get("quantize")
        .model_validate({"model": "no/such/folder", "corpus": "$corpus", "method": "torch"})
        .preflight()
    )
    assert fault.path == "model" and "no such folder" in fault.message


def test_rows_reach_the_longest_input() -> None:
    """Tests whose texts are all short would never show a wrong length limit."""
    assert max(len(row["text"].split()) for row in rows_of("classify")) > LONGEST // 2
    assert torch.get_num_threads() >= 1
