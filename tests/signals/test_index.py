"""The index: an external sort that must find every row, and none that is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from compress.core.errors import InputError
from compress.signals import index
from compress.signals.index import Index, write_index


def shards(folder: Path, keys: np.ndarray, sizes: list[int]) -> list[str]:
    names, start = [], 0
    for number, size in enumerate(sizes):
        names.append(f"shard{number}")
        part = np.ascontiguousarray(keys[start : start + size])
        save_file({"row.keys": torch.from_numpy(part.view(np.int64))}, folder / f"shard{number}.safetensors")
        start += size
    return names


@pytest.mark.parametrize("bucket", [4, 64, 1 << 16])
def test_every_row_is_found_where_it_lies(bucket: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A range that is cut wrongly loses rows silently: they would all be computed live, or refused."""
    monkeypatch.setattr(index, "BUCKET", bucket)
    keys = np.random.default_rng(3).integers(0, 2**64, (200, 2), dtype=np.uint64)
    keys[:5, 0] = (0, 2**64 - 1, 2**63, 2**63 - 1, 1)
    keys[6, 0] = keys[5, 0]  # equal in the first half, so that the second decides
    names = shards(tmp_path, keys, [1, 120, 79])
    assert write_index(tmp_path, names, tmp_path / "index.safetensors") == 200
    opened = Index(tmp_path / "index.safetensors")
    assert len(opened) == 200
    expected = [(0, 0), *((1, row) for row in range(120)), *((2, row) for row in range(79))]
    assert opened.find(keys).tolist() == [list(place) for place in expected]
    strange = keys.copy()
    strange[:, 1] += np.uint64(1)
    assert (opened.find(strange) == -1).all()


def test_a_row_of_two_shards_is_found_in_the_first(tmp_path: Path) -> None:
    """The same text in train and unlabeled must not depend on which shard a search happens to hit."""
    keys = np.array([[5, 5], [9, 9], [5, 5], [7, 7]], dtype=np.uint64)
    write_index(tmp_path, shards(tmp_path, keys, [2, 2]), tmp_path / "index.safetensors")
    assert Index(tmp_path / "index.safetensors").find(keys[2:]).tolist() == [[0, 0], [1, 1]]


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    """A format of our own could be read by nobody else; leftovers of the sort would be taken for files of the store."""
    keys = np.array([[2**63 + 5, 1], [4, 2]], dtype=np.uint64)
    write_index(tmp_path, shards(tmp_path, keys, [2]), tmp_path / "index.safetensors")
    held = load_file(tmp_path / "index.safetensors")
    assert held["high"].tolist() == [4, 2**63 + 5] and held["place"].tolist() == [[0, 1], [0, 0]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.safetensors", "shard0.safetensors"]


def test_a_truncated_index_is_refused(tmp_path: Path) -> None:
    """A search in half an index would miss rows, or read past the end of the file."""
    path = tmp_path / "index.safetensors"
    write_index(tmp_path, shards(tmp_path, np.ones((8, 2), dtype=np.uint64), [8]), path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="truncated"):
        Index(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="cannot be read"):
        Index(path)
