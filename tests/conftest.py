"""What every test stands on: one thread, no hub, and fake verbs that run a pipeline without torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

import pytest

from compress.core.registry import CATALOGUES, Catalogue
from compress.steps.base import STEPS
from tests.fakes import VERBS, Fruit


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads and cores that a test took end with it: with several workers, each with several threads, all wait."""
    cores = os.sched_getaffinity(0)
    yield
    if os.sched_getaffinity(0) != cores:
        os.sched_setaffinity(0, cores)
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture
def fake_verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step catalogue with the verbs of tests.fakes only, so that no real step (and no torch) is imported."""
    monkeypatch.setattr(STEPS, "_loaded", True)
    monkeypatch.setattr(STEPS, "_methods", dict(VERBS))


@pytest.fixture
def fruits() -> Iterator[Catalogue[Fruit]]:
    """An empty catalogue of kind `fruit`, gone again after the test."""
    made: Catalogue[Fruit] = Catalogue("fruit", "fruits", ())
    yield made
    del CATALOGUES["fruit"]
