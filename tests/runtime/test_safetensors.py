"""What the runtime says of a file of weights before any library opens it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from compress.core.errors import InputError
from compress.runtime.folder import check_safetensors


@pytest.mark.parametrize("low", [0x80, 0x88])
def test_no_length_of_a_header_makes_a_pickle_of_it(low: int, tmp_path: Path) -> None:
    """Prevents that one sound model of 32 is refused: the file begins with its header's length, a pickle with 0x80."""
    path = tmp_path / "model.safetensors"
    for filler in range(0, 300, 4):
        save_file({"weight": torch.ones(3, 2)}, path, metadata={"filler": "x" * filler})
        if path.read_bytes()[0] == low:
            break
    assert path.read_bytes()[0] == low
    assert check_safetensors(path) == 6


@pytest.mark.parametrize("content", [b"\x80", pickle.dumps({"weights": [1.0] * 40}), b"PK\x03\x04" + b"\0" * 200])
def test_a_pickle_is_named_as_one(content: bytes, tmp_path: Path) -> None:
    """Prevents a pickle, old or zipped, that is called a truncated file, whose remedy is to copy it again."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="a pickle where weights should be"):
        check_safetensors(path)
