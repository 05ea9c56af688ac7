"""How the Auto classes of transformers come to know uneven models of every family, without loading any of them.

The mappings behind the Auto classes keep what others register in a dictionary, `_extra_content`. Registering eleven
families with all their heads would import eleven modeling files whenever somebody needs one tokenizer, and the list
would have to know each family beforehand. So the dictionary gets a subclass that makes an entry when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

CONFIGS = "transformers.models.auto.configuration_auto"
MODELS = "transformers.models.auto.modeling_auto"
TOKENIZERS = "transformers.models.auto.tokenization_auto"
WATCHED = frozenset({CONFIGS, MODELS, TOKENIZERS})
_PREFIX = "stillroom-"


class Asked(dict[Any, Any]):
    """What was registered, and what is made on demand. knows: whether a key can be made; make: its value."""

    def __init__(self, held: dict[Any, Any], knows: Callable[[Any], bool], make: Callable[[Any], Any]) -> None:
        super().__init__(held)
        self.knows, self.make = knows, make

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or self.knows(key)

    def __missing__(self, key: Any) -> Any:
        if not self.knows(key):
            raise KeyError(key)
        return self.setdefault(key, self.make(key))


def register(module: ModuleType) -> None:
    """Teach one of the WATCHED modules, just imported, what an uneven model is. Twice is as good as once."""
    if module.__name__ == CONFIGS:
        _extend(module.CONFIG_MAPPING, *_configs(module.CONFIG_MAPPING))
        return
    for mapping in [value for value in vars(module).values() if hasattr(value, "_extra_content")]:
        if mapping is not getattr(module, "CONFIG_MAPPING", None):
            _extend(mapping, *_classes(mapping))


def _extend(mapping: Any, knows: Callable[[Any], bool], make: Callable[[Any], Any]) -> None:
    if not isinstance(mapping._extra_content, Asked):
        mapping._extra_content = Asked(mapping._extra_content, knows, make)


def _configs(mapping: Any) -> tuple[Callable[[Any], bool], Callable[[Any], Any]]:
    """Model types `stillroom-FAMILY`, for each family that transformers has."""

    def knows(key: Any) -> bool:
        return isinstance(key, str) and key.startswith(_PREFIX) and key.removeprefix(_PREFIX) in mapping._mapping

    def make(key: str) -> Any:
        from compress.shapes.config import config_class

        return config_class(key.removeprefix(_PREFIX))

    return knows, make


def _classes(mapping: Any) -> tuple[Callable[[Any], bool], Callable[[Any], Any]]:
    """Config classes of uneven models whose stock kin stand in the same mapping."""

    def knows(key: Any) -> bool:
        stock = vars(key).get("stock") if isinstance(key, type) and vars(key).get("stock_model_type") else None
        return stock is not None and stock in mapping

    def make(key: Any) -> Any:
        found = mapping[key.stock]
        return tuple(_uneven(one, key) for one in found) if isinstance(found, tuple | list) else _uneven(found, key)

    return knows, make


def _uneven(found: Any, key: Any) -> Any:
    """The uneven class behind a stock model's; a tokenizer stays what it is."""
    from transformers import PreTrainedModel

    from compress.shapes.models import uneven_class

    is_model = isinstance(found, type) and issubclass(found, PreTrainedModel)
    return uneven_class(found, key.stock_model_type) if is_model else found
