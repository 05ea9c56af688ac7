"""Stillroom: a large transformer teacher in, the smallest and fastest student that is still good enough out.

Names load on first use: `import compress` brings in neither torch nor transformers. It also lets transformers'
Auto classes open models of uneven shapes, whenever they are loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from compress.shapes.hook import install

if TYPE_CHECKING:
    from compress.pipeline.plan import plan as plan
    from compress.pipeline.recipe import load_recipe as load_recipe
    from compress.pipeline.run import run as run
    from compress.runtime.student import Student as Student

__version__ = "0.1.0"
__all__ = ["Student", "__version__", "load_recipe", "plan", "run"]

_HOMES = {
    "Student": "compress.runtime.student",
    "load_recipe": "compress.pipeline.recipe",
    "plan": "compress.pipeline.plan",
    "run": "compress.pipeline.run",
}

# From here on transformers' Auto classes open models of uneven shapes.
install()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'compress' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
