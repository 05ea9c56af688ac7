"""A subject's process whose true numbers are known: it sleeps, works or holds memory as its folder's `known.json` says.

The harness's own process (`compress.bench.subject`), with a model in place of the student that answers in a known time.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from compress.bench import subject
from compress.bench.inside import opening

KNOWN = "known.json"
SIDE = 48  # three matrices of this side fit into every first-level cache, so that no neighbour's data can push them out
# The process stands in for a user's model, and its work must not depend on how many cores are free.
THREADS = 1


class Known:
    """What the harness needs of a student: labels, lengths, an encoder, and an answer that takes a known time."""

    labels = ("bad", "good")
    task = "classify"
    max_length = 32

    def __init__(self, folder: str) -> None:
        facts = json.loads((Path(folder) / KNOWN).read_text(encoding="utf-8"))
        self.engine = SimpleNamespace(threads=THREADS, dtype="float32")
        self.encoder = SimpleNamespace(encode=_encoded, parts=_parts)
        self.held = np.ones(int(facts.get("bytes", 0)) // 8)
        self.act = _act(facts)

    @classmethod
    def load(cls, folder: str, **_: Any) -> Known:
        """In place of `Student.load`."""
        return cls(folder)

    def predict(self, texts: Sequence[Any], batch_size: int) -> list[str]:
        """Act once, whatever was asked."""
        self.act()
        return [self.labels[0]] * len(texts)


def _encoded(inputs: Sequence[Any]) -> list[SimpleNamespace]:
    return [SimpleNamespace(ids=[0, 1]) for _ in inputs]


def _parts(inputs: Sequence[Any]) -> list[list[SimpleNamespace]]:
    return [[one] for one in _encoded(inputs)]


def _act(facts: dict[str, Any]) -> Callable[[], None]:
    """What one answer does: sleep for `sleep` seconds, or multiply `passes` times."""
    left, right = np.full((2, SIDE, SIDE), 0.5, np.float32)
    out = np.empty((SIDE, SIDE), np.float32)

    def work() -> None:
        for _ in range(int(facts.get("passes", 0))):
            np.dot(left, right, out=out)

    return work if "passes" in facts else lambda: time.sleep(facts.get("sleep", 0.0))


def _no_imports(engine: str, family: str) -> None:
    """There is no engine to import."""


opening.Student = Known  # type: ignore[assignment,misc]
opening.import_engine = _no_imports

if __name__ == "__main__":
    sys.exit(subject.main())
