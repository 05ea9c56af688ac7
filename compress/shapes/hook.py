"""Registers uneven models with transformers' Auto classes: at once where they are loaded, else when they will be.

`import compress` runs this, so it imports the standard library alone.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from compress.shapes.auto import WATCHED, register


class Watcher:
    """A finder of modules that finds nothing itself: it has the next finder's module registered once it has run."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the finders after this one say of a watched module; None for all others."""
        if name not in WATCHED:
            return None
        later = sys.meta_path[sys.meta_path.index(self) + 1 :]
        spec = next((found for finder in later if (found := finder.find_spec(name, path, target))), None)
        if spec is not None and spec.loader is not None:
            _run_after(spec.loader)
        return spec


def _run_after(loader: object) -> None:
    """The loader itself, its type and all that inspect reads of it unchanged, with one step more at the end."""
    execute = loader.exec_module  # type: ignore[attr-defined]

    def exec_module(module: ModuleType) -> None:
        execute(module)
        if module.__name__ in WATCHED:  # a loader may serve several modules
            register(module)

    loader.exec_module = exec_module  # type: ignore[attr-defined]


def install() -> None:
    """Watch for the Auto classes, and register with those that are loaded already. Twice is as good as once."""
    if not any(type(finder).__module__ == __name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, Watcher())
    for name in sorted(WATCHED):
        if name in sys.modules:
            register(importlib.import_module(name))  # waits, where another thread is just importing it
