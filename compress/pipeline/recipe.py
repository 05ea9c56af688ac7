"""Recipes: YAML text to checked values, with every fault reported at once by path and line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from compress.core.errors import Fault, FaultsError, InputError, did_you_mean
from compress.core.options import faults_of, refs
from compress.steps.base import STEPS, Step

TOP_KEYS = ("name", "seed", "settings", "steps")
_NAME = re.compile(r"^[a-z][a-z0-9_-]*$")
_SETTING = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Recipe:
    """Named steps in order. `lines` maps a dotted path to its line in `path`, for errors."""

    name: str
    seed: int
    steps: dict[str, Step]
    path: Path | None = None
    text: str = ""
    lines: dict[str, int] = field(default_factory=dict)

    def where(self, dotted: str) -> str:
        """`file:line` of the nearest place that the recipe has for a dotted path."""
        return _where(self.path, self.lines, dotted)


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file. `overrides` are `dotted.path=value` texts as given to `--set`.

    Raises FaultsError (exit code 2) with every fault at once.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: expected a recipe file, came a folder")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such recipe; write one with `compress init`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    return parse_recipe(text, path, overrides)


def parse_recipe(text: str, path: Path | None = None, overrides: Iterable[str] = ()) -> Recipe:
    """Check the text of a recipe. Raises FaultsError with every fault at once."""
    document, lines = _parse_yaml(text, path)
    faults: list[Fault] = []
    for override in overrides:
        _override(document, override)
    _check_top(document, faults)
    document = _interpolate(document, faults)
    steps = _steps(document.get("steps"), faults)
    if faults:
        raise FaultsError([Fault(f.path, f.message, f.where or _where(path, lines, f.path)) for f in faults])
    name = str(document.get("name") or (path.stem if path else "recipe"))
    return Recipe(name, document.get("seed", 13), steps, path, text, lines)


def _check_top(document: dict[str, Any], faults: list[Fault]) -> None:
    for key in document:
        if key not in TOP_KEYS:
            hint = did_you_mean(str(key), TOP_KEYS)
            faults.append(Fault(str(key), f"not a key of a recipe (it has {', '.join(TOP_KEYS)}){hint}"))
    seed = document.get("seed", 13)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        faults.append(Fault("seed", f"expected a whole number from 0 to 2^32 - 1, came {seed!r}"))
    if "name" in document and not _NAME.match(str(document["name"])):
        faults.append(Fault("name", f"expected lower-case letters, digits, - and _, came {document['name']!r}"))
    settings = document.get("settings") or {}
    if not isinstance(settings, dict):
        faults.append(Fault("settings", f"expected name: value pairs, came {type(settings).__name__}"))


def _steps(raw: Any, faults: list[Fault]) -> dict[str, Step]:
    if not isinstance(raw, dict) or not raw:
        faults.append(Fault("steps", "expected at least one `name: {verb: {options}}`, came none"))
        return {}
    steps: dict[str, Step] = {}
    seen: dict[str, str | None] = {}
    for name, body in raw.items():
        step = _step(str(name), body, faults)
        if step is not None:
            steps[str(name)] = step
            _check_refs(str(name), step, seen, raw, faults)
        seen[str(name)] = step.kind if step is not None else None
    return steps


def _step(name: str, body: Any, faults: list[Fault]) -> Step | None:
    place = f"steps.{name}"
    if not _NAME.match(name):
        faults.append(Fault(place, "a step's name is lower-case letters, digits, - and _, starting with a letter"))
    if not isinstance(body, dict) or len(body) != 1:
        faults.append(Fault(place, f"expected one verb as {{verb: {{options}}}} (verbs: {', '.join(STEPS.names())})"))
        return None
    ((verb, options),) = body.items()
    try:
        method = STEPS.get(str(verb))
    except InputError as error:
        faults.append(Fault(f"{place}.{verb}", str(error)))
        return None
    try:
        return method.model_validate({} if options is None else options)
    except ValidationError as error:
        faults.extend(faults_of(error, method, f"{place}.{verb}"))
        return None


def _check_refs(
    name: str, step: Step, seen: dict[str, str | None], raw: dict[str, Any], faults: list[Fault]
) -> None:
    for path, value, mark in refs(step):
        place = f"steps.{name}.{step.registered_name}.{path}"
        if not value.startswith("$"):
            if not mark.outside:
                faults.append(Fault(place, f"expected a reference to an earlier step ($name), came {value!r}"))
            continue
        target = value[1:]
        if target not in seen:
            later = target in raw and target != name
            hint = "" if later else did_you_mean(target, seen)
            why = "stands below; a step may use only what stands above it" if later else f"is not a step above{hint}"
            faults.append(Fault(place, f"{value} {why}"))
        elif seen[target] is not None and seen[target] != mark.kind:
            faults.append(Fault(place, f"expected a {mark.kind}, but {value} makes a {seen[target]}"))


def _interpolate(document: dict[str, Any], faults: list[Fault]) -> dict[str, Any]:
    settings = document.get("settings") or {}
    if not isinstance(settings, dict):
        return document

    def fill(value: Any, place: str) -> Any:
        if isinstance(value, dict):
            return {key: fill(inner, f"{place}.{key}" if place else str(key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [fill(inner, f"{place}[{index}]") for index, inner in enumerate(value)]
        if not isinstance(value, str):
            return value
        for name in _SETTING.findall(value):
            if name not in settings:
                hint = did_you_mean(name, map(str, settings))
                faults.append(Fault(place, f"${{{name}}} is not in settings{hint}"))
                return value
        whole = _SETTING.fullmatch(value)
        return settings[whole[1]] if whole else _SETTING.sub(lambda found: str(settings[found[1]]), value)

    return {key: value if key == "settings" else fill(value, str(key)) for key, value in document.items()}


def _override(document: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise InputError(f"--set {override}: expected dotted.path=value, such as steps.student.distill.epochs=1")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}: the value is not YAML ({error})") from error
    parts = re.findall(r"[^.\[\]]+|\[\d+\]", dotted)
    here: Any = document
    for index, part in enumerate(parts[:-1]):
        here = _descend(here, part, override, create=not (parts[0] == "steps" and index == 1))
    _assign(here, parts[-1], value, override)


def _descend(here: Any, part: str, override: str, create: bool) -> Any:
    if part.startswith("["):
        index = int(part[1:-1])
        if not isinstance(here, list) or index >= len(here):
            raise InputError(f"--set {override}: there is no item {part}")
        return here[index]
    if not isinstance(here, dict):
        raise InputError(f"--set {override}: {part!r} stands under a value that has no keys")
    if part not in here:
        if not create:
            hint = did_you_mean(part, map(str, here))
            raise InputError(f"--set {override}: the recipe has no step {part!r}{hint}")
        here[part] = {}
    if here[part] is None:
        here[part] = {}
    elif isinstance(here[part], str) and not here[part].startswith("$"):
        here[part] = {here[part]: {}}  # `tokenizer: wordpiece` is short for `tokenizer: {wordpiece: {}}`
    return here[part]


def _assign(here: Any, part: str, value: Any, override: str) -> None:
    if part.startswith("["):
        index = int(part[1:-1])
        if not isinstance(here, list) or index >= len(here):
            raise InputError(f"--set {override}: there is no item {part}")
        here[index] = value
    elif isinstance(here, dict):
        here[part] = value
    else:
        raise InputError(f"--set {override}: {part!r} stands under a value that has no keys")


def _parse_yaml(text: str, path: Path | None) -> tuple[dict[str, Any], dict[str, int]]:
    shown = path or "recipe"
    lines: dict[str, int] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if isinstance(node, yaml.Node):
            _refuse_duplicates(node, "", lines, str(shown))
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise InputError(f"{shown}{line}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(document, dict):
        came = "an empty file" if document is None else type(document).__name__
        raise InputError(f"{shown}: expected a recipe with `steps:`, came {came}; see `compress init`")
    return document, lines


def _refuse_duplicates(node: yaml.Node, place: str, lines: dict[str, int], shown: str) -> None:
    lines[place] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if key.value in keys:
                raise InputError(f"{shown}:{key.start_mark.line + 1}: the key {key.value!r} stands twice")
            keys.add(key.value)
            inner = f"{place}.{key.value}" if place else str(key.value)
            _refuse_duplicates(value, inner, lines, shown)
            lines[inner] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _refuse_duplicates(value, f"{place}[{index}]", lines, shown)


def _where(path: Path | None, lines: dict[str, int], dotted: str) -> str:
    place = dotted
    while place and place not in lines:
        cut = max(place.rfind("."), place.rfind("["))
        place = place[:cut] if cut > 0 else ""
    return f"{path or 'recipe'}:{lines.get(place, 1)}" if dotted else str(path or "recipe")
