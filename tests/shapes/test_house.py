"""An uneven student in every room of the house: saved, opened, verified, exported, quantized, counted, distilled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.anatomy.capture import Tap, Wanted
from compress.bench.flops import of_weights
from compress.core.artifact import ArtifactWriter
from compress.core.errors import InputError
from compress.export.onnx import Onnx
from compress.export.openvino import Openvino
from compress.export.shapes import trial_batches
from compress.quantize.base import FloatStudent
from compress.quantize.torch import Torch
from compress.runtime.engines.torch_int8 import load_int8
from compress.runtime.student import Student
from compress.shapes.models import Uneven
from compress.shapes.settle import settle
from compress.students.checkpoint import CheckpointStudent
from compress.students.inits.copy import Copy
from compress.students.inits.random import Random
from compress.students.tinybert import TinyBertStudent
from compress.train.bodies import recomputing
from compress.train.folder import load_model, save_student
from tests.models import HEADS, batch
from tests.quantize.forms import LABELS, LONGEST, model_of, named, rows_of, tokenizer_of
from tests.shapes.carved import ENCODERS, carve, carved, inputs_for, output

# What has to trace or convert a model does so for one family in the default run.
SOME = [name if name == "bert" else pytest.param(name, marks=pytest.mark.slow) for name in ENCODERS]
CLASSIFY = "AutoModelForSequenceClassification"


def student_of(folder: Path, family: str, task: str = "classify") -> Path:
    """An artifact of an uneven student."""
    writer = ArtifactWriter(folder)
    about = save_student(
        settle(carve(model_of(family, task, layers=2))), tokenizer_of(family), writer.open(), task=named(task),
        labels=LABELS.get(task, []), max_length=24, golden_rows=rows_of(task)[:3],
    )  # fmt: skip
    return writer.commit({"kind": "Model", "key": "m", "about": about, "measured": {}})


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uneven BERT student that classifies."""
    return student_of(tmp_path_factory.mktemp("house") / "bert", "bert")


@pytest.mark.parametrize("task", ["classify", "tag", "mask", "answer", "embed"])
@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_a_student_is_saved_opened_and_verified(family: str, task: str, tmp_path: Path) -> None:
    """Prevents a student that the runtime cannot open, and a reload that was never compared."""
    folder = student_of(tmp_path / "student", family, task)
    student = Student.load(folder, engine="torch")
    student.verify()
    about = json.loads((folder / "manifest.json").read_text())["about"]
    assert about["family"] == family and about["uneven"] is True
    assert set(about["architecture"]) == {"layers", "width", "vocabulary"}
    plain = tmp_path / "plain"
    shutil.copytree(folder, plain)
    (plain / "manifest.json").unlink()
    if task != "embed":
        assert Student.load(plain, engine="torch").info["family"] == family


def test_the_card_says_what_opens_it(bert: Path) -> None:
    """Prevents a reader whose transformers does not know the model type from finding no way in."""
    card = (bert / "README.md").read_text()
    assert "stock" not in card and "import compress" in card and 'pipeline("text-classification"' in card


def test_it_loads_as_a_start_under_its_own_and_under_a_new_head(bert: Path) -> None:
    """Prevents a body that only one task can take up."""
    own = load_model(str(bert), CLASSIFY)
    assert isinstance(own.model, Uneven) and own.missing == [] and own.labels == ["bad", "good"]
    other = load_model(str(bert), "AutoModelForTokenClassification", labels=["a", "b", "c"], fresh_head=True)
    assert isinstance(other.model, Uneven) and all("classifier" in name for name in other.missing)


@pytest.mark.slow
@pytest.mark.parametrize("family", ENCODERS)
def test_onnx_gives_what_eager_gives(family: str, tmp_path: Path) -> None:
    """Prevents an exported graph with stock numbers of heads; the exporter itself compares at six shapes."""
    model = settle(carve(model_of(family, "classify", layers=2)))
    batches = trial_batches(model.config, ["input_ids", "attention_mask"], 16)
    facts = Onnx().export(model, batches, 16, tmp_path)
    assert facts["difference_from_eager"] < 1e-5


@pytest.mark.slow
def test_openvino_gives_what_eager_gives(tmp_path: Path) -> None:
    """Prevents an IR of another function."""
    pytest.importorskip("openvino")
    model = settle(carve(model_of("bert", "classify", layers=2)))
    batches = trial_batches(model.config, ["input_ids", "attention_mask"], LONGEST)
    assert Openvino().export(model, batches, LONGEST, tmp_path)["difference_from_eager"] < 1e-4


@pytest.mark.parametrize("family", SOME)
def test_int8_by_torch_comes_back_as_it_was(family: str, tmp_path: Path) -> None:
    """Prevents a rebuilt int8 student of stock shapes, and products of two matrices that stay float."""
    model = settle(carve(model_of(family, "classify", layers=2)))
    batches = trial_batches(model.config, ["input_ids", "attention_mask"], 16)
    facts = Torch().quantize(FloatStudent(model, batches), tmp_path)
    again = load_int8(tmp_path, {"engine": {"torch": facts}})
    assert not [name for name, part in again.named_modules() if isinstance(part, nn.Linear | nn.Embedding)
                and "rel_embeddings" not in name]  # fmt: skip
    with torch.inference_mode():
        exact, rounded = model(**batches[0]).logits, again(**batches[0]).logits
    assert float((exact - rounded).abs().max()) < 0.2 * float(exact.abs().max())


def test_the_work_of_uneven_layers_is_counted_by_hand(bert: Path) -> None:
    """Prevents multiply-adds of stock shapes, and a product of two matrices that is counted as one or as none."""
    length, d = 10, 32
    first = 3 * d * 16 + (16 * 3 + 3 * d) + 2 * d * 64
    second = 4 * d * d + 2 * d * 24
    scores = 2 * length * length * (16 + d)
    head = d * d + d * 2
    found = of_weights(bert / "model.safetensors", length, "classify", {})
    assert found.total == length * (first + second) + scores + head


@pytest.mark.parametrize("family", ENCODERS)
def test_the_tap_reads_its_layers(family: str) -> None:
    """Prevents queries split by the number of heads that the config remembers."""
    model = settle(carved(family))
    layers = frozenset({1, 2})
    with Tap(model, Wanted(hidden=layers, attention=layers, values=layers)) as tap, torch.inference_mode():
        trace = tap(inputs_for(model))
    assert trace.queries is not None and trace.queries[1].shape == (2, 2, 7, 4)
    heads = 2 if family in ("albert", "mpnet") else 4
    assert trace.queries[2].shape == (2, heads, 7, 4) and trace.hidden_at(2).shape == (2, 7, 16)
    assert anatomy_of(model).registered_name == family


def test_it_can_be_a_student_by_checkpoint(bert: Path) -> None:
    """Prevents prune-then-distil from starting at a stock shape."""
    teacher = model_of("bert", "classify", layers=2)
    teacher.config.id2label = {0: "good", 1: "bad"}  # another order: the head is drawn anew
    built = CheckpointStudent(name=str(bert)).build(teacher, HEADS["classify"])
    assert isinstance(built.model, Uneven)
    assert built.inherited["shape"]["shapes"] == built.model.config.shapes
    own = load_model(str(bert), CLASSIFY).model.base_model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in built.model.base_model.state_dict().items())


def test_no_other_shape_starts_from_its_layers() -> None:
    """Prevents shape errors of torch, or a stock student with the uneven teacher's shapes."""
    teacher = settle(carve(model_of("bert", "classify", layers=2)))
    shape: dict[str, Any] = {"layers": 2, "width": 32, "heads": 4, "ffn": 64}
    with pytest.raises(InputError, match="uneven shapes, from which no other shape starts"):
        TinyBertStudent(**shape, init=Copy()).build(teacher, HEADS["classify"])
    built = TinyBertStudent(**shape, init=Random()).build(teacher, HEADS["classify"])
    assert not isinstance(built.model, Uneven) and built.model.config.model_type == "bert"


def _gradients(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(**batch()).logits.square().sum().backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def test_its_layers_can_be_recomputed() -> None:
    """Prevents gradient checkpointing that computes another function, or gradients that miss a factor."""
    model = settle(carved("bert"))
    plain = _gradients(model)
    assert {name.rpartition(".")[2] for name in plain if "layer.0.attention.output.dense" in name} == {
        "weight", "up", "bias",
    }  # fmt: skip
    model.train()
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    with recomputing(model):
        again = _gradients(model)
    assert plain.keys() == again.keys()
    assert all(np.allclose(plain[name], again[name], atol=1e-5) for name in plain)
    assert output(model.eval()).isfinite().all()
