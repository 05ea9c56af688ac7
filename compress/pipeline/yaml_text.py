"""YAML as recipes mean it: the plain scalars of YAML 1.2, no key twice, and the line of every place.

PyYAML speaks YAML 1.1, where `5e-5` is a text, the label `no` is false, `010` is 8 and `1:30` is 90.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from compress.core.errors import InputError

Lines = dict[str, int]
RECIPE = ("a recipe with `steps:`", "; see `compress init`")


class _Loader(yaml.SafeLoader):
    """A safe loader with the core schema of YAML 1.2."""


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    return int(text, 0) if re.match(r"0[xo]", text) else int(text)


_Loader.yaml_implicit_resolvers = {}
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def _load(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def read_value(text: str) -> Any:
    """One value, as `--set` gives it. Raises InputError."""
    try:
        return _load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a tag such as !!int over something else
        raise InputError(f"not valid YAML: {getattr(error, 'problem', None) or error}") from None
    except RecursionError:
        raise InputError("nested too deeply to be a value") from None


def read_document(text: str, shown: str, wanted: tuple[str, str] = RECIPE) -> tuple[dict[str, Any], Lines]:
    """A text as a mapping, and dotted place to line. `shown` is the file's name for messages; `wanted`: what it
    should hold, and a hint.

    Raises InputError with the line for what is not YAML, not a mapping, or says one key twice.
    """
    lines: Lines = {}
    try:
        node = yaml.compose(text, Loader=_Loader)
        if isinstance(node, yaml.Node):
            _walk(node, "", lines, shown, ())
        document = _load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise InputError(f"{shown}{line}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    except RecursionError:
        raise InputError(f"{shown}: nested too deeply") from None
    if not isinstance(document, dict):
        came = "an empty file" if document is None else type(document).__name__
        raise InputError(f"{shown}: expected {wanted[0]}, came {came}{wanted[1]}")
    return document, lines


def _walk(node: yaml.Node, place: str, lines: Lines, shown: str, above: tuple[int, ...]) -> None:
    """Note the lines; refuse a key that stands twice, a key that is not plain, an alias of what contains it."""
    here = f"{shown}:{node.start_mark.line + 1}"
    if id(node) in above:
        raise InputError(f"{here}: an alias stands inside what it refers to")
    above = (*above, id(node))
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(f"{here}: a key must be a plain name; put {{...}} in quotes if it is a text")
            if key.value in keys:
                raise InputError(f"{shown}:{key.start_mark.line + 1}: the key {key.value!r} stands twice")
            keys.add(key.value)
            inner = f"{place}.{key.value}" if place else str(key.value)
            lines[inner] = key.start_mark.line + 1
            _walk(value, inner, lines, shown, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, f"{place}[{index}]", lines, shown, above)
