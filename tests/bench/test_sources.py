"""A model and the engine behind its `@`."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.bench.machine import device_for
from compress.bench.sources import Subject, names_of, split_engine, subject
from compress.core.errors import InputError
from tests.bench.helpers import make_model


def test_a_source_may_carry_its_engine(tmp_path: Path) -> None:
    """A folder whose own name holds an `@`, or a hub name, must not lose a part of it."""
    folder = make_model(tmp_path / "user@host" / "half")
    assert split_engine(f"{folder}@torch:bf16") == (str(folder), "torch:bf16")
    assert split_engine(str(folder)) == (str(folder), "")
    assert split_engine("org/model@onnx") == ("org/model", "onnx")
    odd = make_model(tmp_path / "model@onnx")
    assert split_engine(str(odd)) == (str(odd), "")
    with pytest.raises(InputError, match='did you mean "onnx"'):
        split_engine(f"{folder}@onxx")


def test_the_own_engine_comes_first(tmp_path: Path) -> None:
    """`--engine` for all must not undo what one model asks for."""
    folder = make_model(tmp_path / "half")
    found = subject("half", f"{folder}@onnx", engine="torch")
    assert (found.engine, found.source, found.dtype) == ("onnx", str(folder), "unknown")
    with pytest.raises(InputError, match="no form for the engine torch"):
        subject("half", f"{folder}@torch:bf16")


def test_no_two_models_share_a_name() -> None:
    """Two subjects of one name would share their rounds and files, and their numbers with them."""
    assert names_of(["m/half-2", "m/half", "n/half"]) == ["half-2", "half", "half-3"]
    assert names_of(["m/half-3", "m/half", "n/half"]) == ["half-3", "half", "half-2"]


def test_one_folder_in_two_engines_has_two_names() -> None:
    """Two subjects under one name would overwrite each other's results."""
    sources = ["$half", "runs/a/half@torch:bf16", "runs/a/half@torch:bf16", "runs/b/half"]
    assert names_of(sources) == ["half", "half@torch:bf16", "half@torch:bf16-2", "half-2"]


def test_int8_of_torch_stays_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` with a GPU: torch's int8 runs on the CPU only, and the subject would be reported as failed."""
    monkeypatch.setattr("compress.bench.machine.cuda_present", lambda: True)
    forms = [Subject(d, d, Path(d), "torch", {"engine": {"torch": {"dtype": d}}}) for d in ("float32", "int8")]
    assert (device_for("auto", forms[:1]), device_for("auto", forms)) == ("cuda", "cpu")
    with pytest.raises(InputError, match=r"in floating point, and int8 has"):
        device_for("cuda", forms)


def test_the_device_fits_the_variants() -> None:
    """fp16 on the CPU must be refused when the benchmark is asked for, not after the other subjects have run."""
    about = {"engine": {"torch": {"file": "model.safetensors", "dtype": "float32"}}}
    half = Subject("half", "half", Path("half"), "torch:fp16", about)
    assert half.dtype == "float16"
    with pytest.raises(InputError, match="torch:fp16 needs a CUDA device"):
        device_for("cpu", [half])
    assert device_for("cpu", [Subject("b", "b", Path("b"), "torch:bf16", about)]) == "cpu"
