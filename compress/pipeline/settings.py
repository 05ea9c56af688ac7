"""`settings:` of a recipe, and the `${name}` that stand for them."""

from __future__ import annotations

import re
from typing import Any

from compress.core.errors import Fault, did_you_mean

_SETTING = re.compile(r"\$\{([^}]*)\}")


def interpolate(document: dict[str, Any], faults: list[Fault]) -> dict[str, Any]:
    """The document with every `${name}` replaced; a text that is nothing else takes the setting's own type.

    Adds a fault for a name that is not in settings, and for a setting that is used nowhere (a misspelt one, say).
    """
    settings = document.get("settings") or {}
    if not isinstance(settings, dict):
        faults.append(Fault("settings", f"expected name: value pairs, came {type(settings).__name__}"))
        return document
    used: set[str] = set()

    def fill(value: Any, place: str) -> Any:
        if isinstance(value, dict):
            return {key: fill(inner, f"{place}.{key}" if place else str(key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [fill(inner, f"{place}[{index}]") for index, inner in enumerate(value)]
        return fill_text(value, place) if isinstance(value, str) else value

    def fill_text(value: str, place: str) -> Any:
        names = _SETTING.findall(value)
        used.update(names)
        for name in names:
            if name not in settings:
                hint = did_you_mean(name, map(str, settings))
                faults.append(Fault(place, f"${{{name}}} is not in settings{hint}"))
                return value
        whole = _SETTING.fullmatch(value)
        return settings[whole[1]] if whole else _SETTING.sub(lambda found: str(settings[found[1]]), value)

    filled = {key: value if key == "settings" else fill(value, str(key)) for key, value in document.items()}
    for name in settings:
        if name not in used:
            hint = did_you_mean(str(name), used - {name})
            faults.append(Fault(f"settings.{name}", f"is used nowhere: no option says ${{{name}}}{hint}"))
    return filled
