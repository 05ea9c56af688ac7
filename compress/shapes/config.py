"""Configurations of uneven models: a stock one, the shapes that differ, and a lock that no stock class can pass."""

from __future__ import annotations

import copy
from functools import cache
from threading import RLock
from typing import Any, ClassVar, TypeVar, cast

from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from compress.core.family import stock_family

PREFIX = "stillroom-"
LOCKED = "uneven: see shapes, and import compress before this is opened"
_MAKING = RLock()
C = TypeVar("C", bound=PreTrainedConfig)


class UnevenConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """What the configurations of all families share. shapes: what differs from the stock architecture (`entry`).

    `config.json` also gets a `per_layer_config`, which a stock class of this version of transformers cannot honour and
    therefore refuses, even under `ignore_mismatched_sizes`, where it would otherwise draw random weights.
    """

    stock: ClassVar[type[PreTrainedConfig]]

    stock_model_type: str = ""
    shapes: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs.pop("per_layer_config", None)
        kwargs.pop("model_type", None)
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]

    def model_class(self, name: str) -> type[Any]:
        """The uneven class of that name. Raises ValueError when no stock class stands behind it."""
        from compress.shapes.models import class_named

        return class_named(name, self.stock_model_type)

    def to_dict(self) -> dict[str, Any]:
        """The fields, the lock, and the number of layers under the name that the lock is checked by."""
        found = super().to_dict()
        heads = self.attribute_map.get("num_attention_heads", "num_attention_heads")
        found.setdefault("num_hidden_layers", self.num_hidden_layers)
        return {**found, "per_layer_config": {"0": {heads: LOCKED}}}


def config_class(family: str) -> type[UnevenConfig]:
    """The configuration of uneven models of a stock family. Raises KeyError for one that transformers lacks."""
    with _MAKING:
        return _config_class(family)


@cache
def _config_class(family: str) -> type[UnevenConfig]:
    stock = CONFIG_MAPPING[family]
    body = {
        "__doc__": f"A {stock.__name__} with the shapes that it cannot express.",
        "__module__": __name__,
        "__annotations__": {"stock_model_type": str},
        "model_type": f"{PREFIX}{family}",
        "stock_model_type": family,
        "stock": stock,
    }
    return cast(type[UnevenConfig], type(f"Uneven{stock.__name__}", (UnevenConfig, stock), body))


def uneven_config(config: PreTrainedConfig, shapes: dict[str, Any]) -> UnevenConfig:
    """The same configuration with these shapes."""
    return _copied(config, config_class(stock_family(config)), {"shapes": shapes})


def stock_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """A copy as the stock class takes it, without shapes."""
    return _copied(config, config.stock, {}) if isinstance(config, UnevenConfig) else copy.deepcopy(config)


def _copied(config: PreTrainedConfig, kind: type[C], more: dict[str, Any]) -> C:
    held = config.to_dict()
    for name in ("model_type", "stock_model_type", "shapes", "per_layer_config"):
        held.pop(name, None)
    if isinstance(config, UnevenConfig) and "num_hidden_layers" in config.attribute_map:
        held.pop("num_hidden_layers", None)
    made = kind.from_dict({**held, **more})
    made._attn_implementation = config._attn_implementation
    return made
