"""Engines: pinned threads, damaged graphs, and what a form does not give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from compress.core.errors import InputError
from compress.runtime import threads
from compress.runtime.engines.onnx import OnnxEngine
from compress.runtime.student import Student
from tests.runtime.test_imports import count_graph

Folder = Callable[[str, str], Path]


@pytest.fixture
def graph(plain: Path) -> Path:
    """A plain folder with a graph that counts tokens."""
    count_graph(plain / "model.onnx")
    return plain


def test_onnx_pins_its_threads(graph: Path) -> None:
    """A session that takes every core, or spins on, makes every other measurement wrong."""
    engine = Student.load(graph, threads=1).engine
    assert isinstance(engine, OnnxEngine) and engine.threads == 1
    options = engine.session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
    assert engine.feeds == {"input_ids", "attention_mask"}


def test_onnx_gives_logits_in_order(graph: Path) -> None:
    """Token types that the graph does not take, and batches by length, must not disturb the answers."""
    loaded = Student.load(graph, threads=1)
    texts = ["good", "The film is not bad", "plots work"]
    lengths = [len(encoding.ids) for encoding in loaded.encoder.tokenizer.encode_batch(texts)]
    assert [row.tolist() for row in loaded.logits(texts, batch_size=2)] == [[n, -n, 0] for n in lengths]
    assert loaded.logits(texts)[0].dtype == np.float32


def test_onnx_without_hidden_states_says_so(graph: Path) -> None:
    """An embedding of logits would look like one."""
    with pytest.raises(InputError, match="no embeddings"):
        Student.load(graph, threads=1).embed(["good"])


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x09"])
def test_damaged_graphs_are_refused(graph: Path, content: bytes) -> None:
    """ONNX Runtime's own errors are tracebacks with a C++ path."""
    (graph / "model.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.onnx: cannot be loaded"):
        Student.load(graph, threads=1)


def test_devices_that_are_not_there(graph: Path, student: Folder) -> None:
    """Falling back to the CPU in silence gives a GPU benchmark of a CPU."""
    with pytest.raises(InputError, match="device"):
        Student.load(graph, threads=1, device="rocket")
    if not torch.cuda.is_available():
        for folder in (graph, student("bert", "classify")):
            with pytest.raises(InputError, match="device: 'cuda'"):
                Student.load(folder, threads=1, device="cuda")


def test_threads_follow_the_quota(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a container of two CPUs on a host of 64, 64 threads wait for one another."""
    quota, slice_, own = tmp_path / "cpu.max", tmp_path / "jobs" / "one" / "cpu.max", tmp_path / "self"
    read = threads._quota
    monkeypatch.setattr(threads, "_quota", lambda: read(tmp_path, own))
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    for text, cores in (("200000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("broken", 64)):
        quota.write_text(text)
        assert threads.threads_of(None) == cores
    slice_.parent.mkdir(parents=True)
    slice_.write_text("400000 100000")
    own.write_text("0::/jobs/one/inner\n")
    quota.write_text("800000 100000")
    assert threads.threads_of(None) == 4, "the smallest quota of all groups above counts"
    assert threads.threads_of(3) == 3
