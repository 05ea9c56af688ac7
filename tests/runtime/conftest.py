"""Tiny student folders, made once for all runtime tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runtime import tiny


@pytest.fixture(scope="session")
def student(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """`student(family, task)`: the folder of a tiny artifact, made on first use. Never change it: copy it."""
    root = tmp_path_factory.mktemp("students")

    def folder(family: str, task: str) -> Path:
        path = root / f"{family}-{task}"
        return path if path.exists() else tiny.save(path, family, task)

    return folder


@pytest.fixture
def plain(student: Callable[[str, str], Path], tmp_path: Path) -> Path:
    """A plain folder with config and tokenizer of a classifier, and no weights of any engine."""
    folder = tmp_path / "graph"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(student("bert", "classify") / name, folder)
    return folder
