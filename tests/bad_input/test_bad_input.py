"""Wrong input of every kind: one readable message with path and remedy, the right exit code, nothing touched."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.bad_input import datasets, factorizing, folders, models, pruning, recipes, signals, tasks
from tests.bad_input.scene import Case, build, compress, hashes, inside

CASES = [
    *recipes.CASES, *datasets.CASES, *tasks.CASES, *models.CASES, *folders.CASES, *signals.CASES,
    *pruning.CASES, *factorizing.CASES,
]  # fmt: skip


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whole run: corpus, teacher, student, int8."""
    root = tmp_path_factory.mktemp("finished")
    build(root)
    return root


@pytest.fixture(autouse=True)
def without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`device: cuda` is wrong where there is none: the same machine everywhere."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.mark.parametrize("case", CASES, ids=[case.name.replace(" ", "-") for case in CASES])
def test_bad_input(case: Case, finished: Path, tmp_path: Path) -> None:
    """A traceback, a wrong exit code, a message without place or remedy, or a former artifact that was touched."""
    root = tmp_path / "here"
    shutil.copytree(finished, root)
    case.change(root)
    before = hashes(root)
    with inside(root):
        found = compress(case.args)
    message = " ".join(found.err.split())
    assert found.code == case.code, found.err + found.out
    assert [word for word in case.words if word not in message] == [], found.err
    assert "Traceback" not in found.err
    assert not re.search(r'File "[^"]+", line \d+', found.err)
    assert len(found.err) < 2500
    assert {name: hash for name, hash in hashes(root).items() if name in before} == before


def test_the_cases_are_many_and_differ() -> None:
    """Two cases under one name would hide one of them."""
    assert len({case.name for case in CASES}) == len(CASES) >= 100
