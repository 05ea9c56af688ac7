"""One float folder in other formats, compiled, and as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from compress.core.errors import InputError
from compress.runtime.engines.torch_graphs import padded_length
from compress.runtime.student import Student
from tests.runtime.tiny import TEXTS

Folder = Callable[[str, str], Path]


def test_bf16_computes_in_bf16_and_says_so(student: Folder) -> None:
    """A bf16 subject with float32 activations, or one that is reported as float32, is not what was asked for."""
    folder = student("bert", "classify")
    plain, half = (Student.load(folder, engine=name, threads=1) for name in ("torch", "torch:bf16"))
    assert (plain.info["engine"], plain.info["dtype"]) == ("torch", "float32")
    assert (half.info["engine"], half.info["dtype"]) == ("torch:bf16", "bfloat16")
    assert all(weight.dtype == torch.bfloat16 for weight in half.engine.model.parameters())  # type: ignore[attr-defined]
    off = max(float(np.abs(a - b).max()) for a, b in zip(plain.logits(TEXTS), half.logits(TEXTS), strict=True))
    assert 0 < off < 0.3 and half.logits(TEXTS)[0].dtype == np.float32


def test_what_a_cpu_cannot_do_is_refused(student: Folder) -> None:
    """fp16 on a CPU runs, minutes long, and a CUDA graph without CUDA is a traceback."""
    for name in ("torch:fp16", "torch:cudagraph"):
        with pytest.raises(InputError, match="needs a CUDA device"):
            Student.load(student("bert", "classify"), engine=name, threads=1)


def test_compiling_without_a_compiler_is_said_at_once(student: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch would say so at the first request, after everything has been loaded, in fifty lines."""
    from torch._inductor import cpp_builder, exc

    def none() -> str:
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler"):
        Student.load(student("bert", "classify"), engine="torch:compile", threads=1)


@pytest.mark.slow
def test_compiled_equals_eager_at_every_shape(student: Folder) -> None:
    """A compiled form that holds for the shape of its first request only."""
    plain, fast = (Student.load(student("bert", "classify"), engine=name, threads=1)
                   for name in ("torch", "torch:compile"))  # fmt: skip
    assert fast.info["dtype"] == "float32"
    for size in (1, 3, 5):
        for a, b in zip(plain.logits(TEXTS, size), fast.logits(TEXTS, size), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_graphs_share_shapes_but_never_pass_the_positions() -> None:
    """A graph for each length would record forever; one past the model's positions reads beyond the table."""
    assert [padded_length(n, 512) for n in (1, 16, 17, 500, 512)] == [16, 16, 32, 512, 512]
    assert [padded_length(n, 66) for n in (64, 65, 66)] == [64, 66, 66]
    assert padded_length(600, 512) == 600 and padded_length(70, 0) == 80


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("task", ["classify", "tag"])
def test_replayed_equals_eager_on_every_text(student: Folder, task: str) -> None:
    """A replay that reads the last request's padding, or answers for another shape."""
    plain, graph = (Student.load(student("bert", task), engine=name, threads=1, device="cuda")
                    for name in ("torch", "torch:cudagraph"))  # fmt: skip
    for size in (1, 2, 1, 5):
        for a, b in zip(plain.logits(TEXTS, size), graph.logits(TEXTS, size), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
