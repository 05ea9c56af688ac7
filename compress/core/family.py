"""What family a model is of, whether its shapes are stock or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def stock_family(config: Any) -> str:
    """The model type that transformers has, of a config or of what `config.json` holds; "" where none is named.

    A model of uneven shapes (`compress.shapes`) has a type of its own and names the stock one beside it.
    """

    def read(name: str) -> Any:
        return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)

    return str(read("stock_model_type") or read("model_type") or "")


def is_uneven(config: Any) -> bool:
    """Whether a config, or what `config.json` holds, is that of a model of uneven shapes."""
    return bool(config.get("shapes") if isinstance(config, Mapping) else getattr(config, "shapes", None))
