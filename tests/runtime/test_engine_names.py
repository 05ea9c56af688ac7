"""`engine[:variant]`: what is understood, and what is refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.errors import InputError
from compress.runtime.engines import base
from compress.runtime.engines.names import check_device, parse_engine

FLOAT, INT8 = {"torch": {"dtype": "float32"}}, {"torch": {"dtype": "int8"}}


@pytest.mark.parametrize(
    ("text", "written", "dtype"),
    [("torch", "torch", "float32"), ("torch:bf16", "torch:bf16", "bfloat16"), ("torch:fp16", "torch:fp16", "float16"),
     ("torch:compile", "torch:compile", "float32"), ("torch:cudagraph+bf16", "torch:bf16+cudagraph", "bfloat16"),
     ("openvino:bf16", "openvino:bf16", "bfloat16"), ("onnx", "onnx", "float32")],
)  # fmt: skip
def test_a_name_says_how_a_folder_is_run(text: str, written: str, dtype: str) -> None:
    """A report that says float32 of a model that ran in bfloat16 compares two things under one name."""
    name = parse_engine(text)
    assert str(name) == written and name.dtype("float32") == dtype


@pytest.mark.parametrize(
    ("text", "said"),
    [("onxx", 'did you mean "onnx"'), ("torch:bf61", 'did you mean "torch:bf16"'), ("bf16", '"torch:bf16"'),
     ("auto:bf16", "name the engine too"), ("onnx:bf16", "onnx has none"), ("openvino:fp16", "bf16"),
     ("torch:", "behind torch:"), ("torch:bf16+fp16", "more than one number format"),
     ("torch:compile+cudagraph", "more than one way to run"), ("torch:bf16+bf16", "more than one"), ("", "not known")],
)  # fmt: skip
def test_other_names_are_refused_with_the_nearest(text: str, said: str) -> None:
    """A misspelt variant that is left out in silence would measure plain torch under its name."""
    with pytest.raises(InputError, match=said):
        parse_engine(text)


def test_variants_are_refused_where_they_make_no_sense(tmp_path: Path) -> None:
    """int8 weights have no bf16 form, and a CPU no CUDA graph; both would fail late or compute something else."""
    assert base.choose("torch:bf16", FLOAT, tmp_path) == "torch:bf16"
    with pytest.raises(InputError, match="holds int8 for the engine torch"):
        base.choose("torch:bf16", INT8, tmp_path)
    with pytest.raises(InputError, match="no form for the engine openvino"):
        base.choose("openvino:bf16", FLOAT, tmp_path)
    for text in ("torch:fp16", "torch:bf16+cudagraph"):
        with pytest.raises(InputError, match="needs a CUDA device"):
            check_device(parse_engine(text), "cpu")
        check_device(parse_engine(text), "cuda")


def test_a_missing_package_gives_its_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that says `No module named openvino` leaves a user to guess the extra."""
    monkeypatch.setattr(base.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r'pip install "stillroom\[openvino\]"'):
        base.choose("openvino", {"openvino": {"dtype": "float32"}}, tmp_path)
