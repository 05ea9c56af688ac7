"""`--set dotted.path=value`: change one value of a recipe's document before it is checked."""

from __future__ import annotations

import re
from typing import Any

from compress.core.errors import InputError, did_you_mean
from compress.pipeline.yaml_text import read_value

_PATH = re.compile(r"[^.\[\]=]+(?:\[\d+\])*(?:\.[^.\[\]=]+(?:\[\d+\])*)*")
_PART = re.compile(r"[^.\[\]]+|\[\d+\]")


def override(document: dict[str, Any], text: str) -> None:
    """Put the value of `dotted.path=value` into the document; the value is YAML.

    Missing options are added (a misspelt one is found by the check that follows), missing steps are not.
    Raises InputError.
    """
    dotted, equals, value = text.partition("=")
    if not equals or not _PATH.fullmatch(dotted):
        raise InputError(f"--set {text}: expected dotted.path=value, such as steps.student.distill.epochs=1")
    try:
        parsed = read_value(value)
    except InputError as error:
        raise InputError(f"--set {text}: the value is {error}") from None
    parts = _PART.findall(dotted)
    here: Any = document
    for index, part in enumerate(parts[:-1]):
        here = _descend(here, part, text, create=not (parts[0] == "steps" and index == 1))
    _assign(here, parts[-1], parsed, text)


def _descend(here: Any, part: str, text: str, create: bool) -> Any:
    if part.startswith("["):
        return _opened(here, _index(here, part, text))
    if not isinstance(here, dict):
        raise InputError(f"--set {text}: {part!r} stands under a value that has no keys")
    if part not in here and not create:
        hint = did_you_mean(part, map(str, here))
        raise InputError(f"--set {text}: the recipe has no step {part!r}{hint}")
    here.setdefault(part, None)
    return _opened(here, part)


def _opened(here: Any, place: str | int) -> Any:
    """What lies at a place, made ready to be written into."""
    value = here[place]
    if value is None:
        here[place] = {}
    elif isinstance(value, str) and not value.startswith("$"):
        here[place] = {value: {}}  # `tokenizer: wordpiece` is short for `tokenizer: {wordpiece: {}}`
    return here[place]


def _assign(here: Any, part: str, value: Any, text: str) -> None:
    if part.startswith("["):
        here[_index(here, part, text)] = value
    elif isinstance(here, dict):
        here[part] = value
    else:
        raise InputError(f"--set {text}: {part!r} stands under a value that has no keys")


def _index(here: Any, part: str, text: str) -> int:
    index = int(part[1:-1])
    if not isinstance(here, list):
        raise InputError(f"--set {text}: {part} counts the items of a list, and there is none")
    if index >= len(here):
        raise InputError(f"--set {text}: there is no item {part}; the list has {len(here)}, counted from 0")
    return index
