"""Classes of uneven models: a stock class whose parts take the sizes of its configuration's `shapes`."""

from __future__ import annotations

from functools import cache
from threading import RLock
from typing import Any, ClassVar, cast

import transformers
from transformers import PreTrainedModel

from compress.shapes.config import UnevenConfig, config_class
from compress.shapes.entry import apply
from compress.shapes.low_rank import LowRankLinear

_MAKING = RLock()
DRAWN = "_is_hf_initialized"  # what transformers notes on a module whose weights are set


class Uneven(PreTrainedModel):  # type: ignore[no-untyped-call]
    """What the uneven classes of all families and heads add to the stock class that stands behind them.

    Raises ValueError for shapes that do not fit the architecture.
    """

    stock: ClassVar[type[PreTrainedModel]]

    def __init__(self, config: Any, *inputs: Any, **kwargs: Any) -> None:
        if not isinstance(config, UnevenConfig):
            raise ValueError(
                f"{type(self).__name__}: expected the config of an uneven model, came {type(config).__name__}"
            )
        super().__init__(config, *inputs, **kwargs)
        apply(self, config.shapes, self.stock.__name__)
        self.init_weights()  # type: ignore[no-untyped-call]  # only what is new, and what was tied to a part that is gone is tied again

    def initialize_weights(self) -> None:
        """Draw what is not set yet; transformers knows no product of two matrices."""
        for module in self.modules():
            if isinstance(module, LowRankLinear) and not getattr(module, DRAWN, False):
                module.reset(float(getattr(self.config, "initializer_range", None) or 0.02))
                setattr(module, DRAWN, True)
        super().initialize_weights()  # type: ignore[no-untyped-call]


def uneven_class(stock: type[PreTrainedModel], family: str) -> type[Uneven]:
    """The uneven class behind a stock class of a family, the same one on every call."""
    with _MAKING:
        return _uneven_class(stock, family)  # type: ignore[arg-type]


@cache
def _uneven_class(stock: type[PreTrainedModel], family: str) -> type[Uneven]:
    body = {
        "__doc__": f"A {stock.__name__} of uneven shapes.",
        "__module__": __name__,
        "config_class": config_class(family),
        "stock": stock,
    }
    return cast(type[Uneven], type(f"Uneven{stock.__name__}", (Uneven, stock), body))


def stock_class(model: PreTrainedModel) -> type[PreTrainedModel]:
    """The class that transformers has for a model's architecture."""
    return model.stock if isinstance(model, Uneven) else type(model)


def _config_of(stock: Any) -> type[Any]:
    """The config class of a stock class."""
    return cast(type[Any], stock.config_class)


def class_named(name: str, family: str) -> type[Uneven]:
    """The uneven class of a name as `config.json` has it. Raises ValueError when no stock class stands behind it."""
    stock = getattr(transformers, name.removeprefix("Uneven"), None)
    known = isinstance(stock, type) and issubclass(stock, PreTrainedModel)
    if not known or not name.startswith("Uneven") or not issubclass(config_class(family).stock, _config_of(stock)):
        raise ValueError(f"config.json names the architecture {name!r}, which is no uneven {family}")
    return uneven_class(cast(type[PreTrainedModel], stock), family)
