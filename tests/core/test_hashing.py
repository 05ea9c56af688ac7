"""Canonical JSON and digests."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from compress.core.hashing import canonical_json, digest, file_sha256, tree_sha256


def test_order_of_keys_does_not_matter() -> None:
    """A reordered recipe must not train again."""
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest([1, 2]) != digest([2, 1])


def test_canonical_text() -> None:
    """The text is what keys are made of: it may never change silently."""
    assert canonical_json({"b": None, "a": [True, 1, 0.5, "é"]}) == '{"a":[true,1,0.5,"é"],"b":null}'


@pytest.mark.parametrize("value", [Path("x"), {1: 2}, {"a": {3}}, ("a",), b"x", [object()]])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    """`default=str` would give an object's address, another key each run."""
    with pytest.raises(TypeError):
        digest(value)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")]])
def test_nan_is_refused(value: Any) -> None:
    """NaN is not JSON and is not equal to itself."""
    with pytest.raises(ValueError, match="JSON"):
        digest(value)


def test_file_and_tree(tmp_path: Path) -> None:
    """A folder's digest follows names and bytes, not times, order or hidden files."""
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"one")
    (folder / "deep" / "b.txt").write_bytes(b"two")
    before = tree_sha256(folder)
    assert file_sha256(folder / "a.txt") == hashlib.sha256(b"one").hexdigest() == tree_sha256(folder / "a.txt")
    (folder / ".hidden").write_bytes(b"x")
    (folder / "a.txt").touch()
    assert tree_sha256(folder) == before
    (folder / "a.txt").write_bytes(b"onf")
    changed = tree_sha256(folder)
    assert changed != before
    (folder / "a.txt").rename(folder / "c.txt")
    assert tree_sha256(folder) not in (before, changed)
