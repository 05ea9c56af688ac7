"""OpenVINO: said precision, pinned threads, silence, damaged files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from compress.core.errors import InputError
from compress.runtime.student import Student
from tests.runtime.test_imports import count_graph

openvino = pytest.importorskip("compress.runtime.engines.openvino")


@pytest.fixture
def graph(plain: Path, tmp_path: Path) -> Path:
    """A plain folder with OpenVINO's form of a graph that counts tokens."""
    from compress.export.openvino import convert

    count_graph(tmp_path / "model.onnx")
    convert(tmp_path / "model.onnx", plain / "openvino_model.xml")
    return plain


def test_it_answers_in_order(graph: Path) -> None:
    """A result that lies in the request's own memory is overwritten by the next batch."""
    loaded = Student.load(graph, threads=1)
    texts = ["good", "The film is not bad", "plots work"]
    lengths = [len(encoding.ids) for encoding in loaded.encoder.tokenizer.encode_batch(texts)]
    assert [row.tolist() for row in loaded.logits(texts, batch_size=1)] == [[n, -n, 0] for n in lengths]
    assert loaded.logits(texts, batch_size=2)[0].dtype == np.float32
    with pytest.raises(InputError, match="no embeddings"):
        loaded.embed(texts)


def test_the_precision_is_said_and_true(graph: Path) -> None:
    """On a CPU with bf16 OpenVINO runs "fp32" models in bf16, and nobody says so."""
    loaded = Student.load(graph, threads=1)
    assert (loaded.info["engine"], loaded.info["dtype"], loaded.info["threads"]) == ("openvino", "float32", 1)
    if "BF16" in openvino.openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        half = Student.load(graph, engine="openvino:bf16", threads=1)
        assert (half.info["engine"], half.info["dtype"]) == ("openvino:bf16", "bfloat16")
    settings = openvino.settings(3, "f32")
    assert settings["INFERENCE_NUM_THREADS"] == 3 and settings["ENABLE_CPU_PINNING"] is False


@pytest.mark.parametrize(
    ("name", "content"),
    [("openvino_model.xml", b""), ("openvino_model.xml", b"<?xml version='1.0'?><net></net>"),
     ("openvino_model.xml", b"a graph"), ("openvino_model.bin", b""), ("openvino_model.bin", None)],
)  # fmt: skip
def test_damaged_files_are_refused(graph: Path, name: str, content: bytes | None) -> None:
    """OpenVINO's own errors are C++ check macros, and a graph that it cannot read it tries as TensorFlow."""
    (graph / name).unlink()
    if content is not None:
        (graph / name).write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be loaded|missing"):
        Student.load(graph, threads=1)


def test_it_is_light_and_tells_nobody() -> None:
    """`import openvino` reports itself over the network; and an app without torch must stay without torch."""
    code = (
        "import sys; import compress.runtime.engines.openvino; "
        "print(sys.modules['openvino.tools.ovc.telemetry_utils'].tm.__name__, 'torch' in sys.modules, "
        "'openvino_telemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "False", "False"]


def test_it_runs_on_the_cpu_only(graph: Path) -> None:
    """Falling back to the CPU in silence gives a GPU benchmark of a CPU."""
    with pytest.raises(InputError, match="device: 'cuda'"):
        Student.load(graph, threads=1, device="cuda")
