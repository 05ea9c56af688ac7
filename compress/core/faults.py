"""Pydantic's errors in a user's words: dotted paths, what was expected, what came, the nearest option."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from compress.core.errors import Fault, did_you_mean

# Pydantic puts the branch of a union into an error's location: `map.literal['uniform',...]`, `map.list[list[int]]`.
_BRANCH = re.compile(
    r"^(?:[A-Z]\w*|str|int|float|bool|dict|none|(?:literal|list|dict|tuple|function|constrained)\b.*)$"
)
_WORDS = {
    "model_type": "expected {option: value} pairs",
    "dict_type": "expected {name: value} pairs",
    "list_type": "expected a list [...]",
    "string_type": "expected a text",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "none_required": "expected nothing (null)",
}


def faults_of(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[Fault]:
    """Pydantic's errors as faults; what the branches of one union say about one value becomes one fault."""
    faults: list[Fault] = []
    unions: dict[str, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        place = _dotted(prefix, detail["loc"])
        if detail["type"] == "nested":
            faults.extend(Fault(_join(place, path), message) for path, message in detail["ctx"]["faults"])
        elif branch := _branch(detail["loc"]):
            unions.setdefault(_dotted(prefix, detail["loc"][:branch]), []).append(detail)
        else:
            faults.append(Fault(place, _words(detail, model)))
    for place, details in unions.items():
        faults.extend(_union(place, details, model, prefix))
    return faults


def _union(place: str, details: list[ErrorDetails], model: type[BaseModel], prefix: str) -> Iterable[Fault]:
    """The faults inside the branch that fits the value best, or one fault that names every branch."""
    deeper = [detail for detail in details if _dotted(prefix, detail["loc"]) != place]
    if deeper:
        return [Fault(_dotted(prefix, detail["loc"]), _words(detail, model)) for detail in deeper]
    wanted = [_expected(detail) for detail in details]
    return [Fault(place, f"{', or '.join(dict.fromkeys(wanted))}, came {_shown(details[0])}")]


def _branch(loc: tuple[int | str, ...]) -> int:
    """Where in a location the first union branch stands, or 0."""
    return next((i for i, part in enumerate(loc) if i and isinstance(part, str) and _BRANCH.match(part)), 0)


def _dotted(prefix: str, loc: tuple[int | str, ...]) -> str:
    path = prefix
    for index, part in enumerate(loc):
        if isinstance(part, int):
            path = f"{path}[{part}]"
        elif not (index and _BRANCH.match(part)):
            path = _join(path, part)
    return path


def _join(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part


def _words(detail: ErrorDetails, model: type[BaseModel]) -> str:
    if detail["type"] == "extra_forbidden":
        return _unknown(detail, model)
    if detail["type"] == "missing":
        return "is required and missing"
    if detail["type"] in ("choice", "value_error"):
        return detail["msg"].removeprefix("Value error, ")
    return f"{_expected(detail)}, came {_shown(detail)}"


def _unknown(detail: ErrorDetails, model: type[BaseModel]) -> str:
    place = _model_at(model, detail["loc"][:-1])
    known = list(place.model_fields)
    name = getattr(place, "registered_name", "") or "this place"
    hint = did_you_mean(str(detail["loc"][-1]), known)
    return f"not an option of {name} (it has {', '.join(known) or 'none'}){hint}"


def _expected(detail: ErrorDetails) -> str:
    return _WORDS.get(detail["type"]) or detail["msg"].replace("Input should be", "expected")


def _shown(detail: ErrorDetails) -> str:
    came = detail.get("input")
    return f"{type(came).__name__} {came!r}"[:80]


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """The nested plain model that a location points into, or the model itself."""
    here = model
    for part in loc:
        field = here.model_fields.get(str(part))
        inner = _plain_model(field.annotation) if field is not None else None
        here = inner or here
    return here


def _plain_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for m in map(_plain_model, getattr(annotation, "__args__", ())) if m is not None), None)
