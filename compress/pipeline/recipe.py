"""Recipes: YAML text to checked values, with every fault reported at once by path and line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compress.core.errors import Fault, FaultsError, InputError, did_you_mean
from compress.core.options import Ref, faults_of, refs
from compress.pipeline.overrides import override
from compress.pipeline.settings import interpolate
from compress.pipeline.yaml_text import read_document
from compress.steps.base import STEPS, Step

TOP_KEYS = ("name", "seed", "settings", "steps")
_NAME = re.compile(r"^[a-z][a-z0-9_-]*$")


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
    document, lines = read_document(text, str(path or "recipe"))
    faults: list[Fault] = []
    for change in overrides:
        override(document, change)
    document = interpolate(document, faults)
    _check_top(document, faults)
    steps = _steps(document.get("steps"), faults)
    if faults:
        raise FaultsError([Fault(f.path, f.message, f.where or _where(path, lines, f.path)) for f in faults])
    name = str(document.get("name") or _plain(path.stem if path else "recipe"))
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


def _plain(stem: str) -> str:
    """A file's name as a recipe's name, which becomes a folder."""
    return re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-") or "recipe"


def _steps(raw: Any, faults: list[Fault]) -> dict[str, Step]:
    if not isinstance(raw, dict) or not raw:
        faults.append(Fault("steps", "expected at least one `name: {verb: {options}}`, came none"))
        return {}
    steps: dict[str, Step] = {}
    seen: dict[str, Step | None] = {}
    for name, body in raw.items():
        step = _step(str(name), body, faults)
        if step is not None:
            steps[str(name)] = step
            _check_refs(str(name), step, seen, raw, faults)
        seen[str(name)] = step
    return steps


def _step(name: str, body: Any, faults: list[Fault]) -> Step | None:
    place = f"steps.{name}"
    if not _NAME.match(name):
        faults.append(Fault(place, "a step's name is lower-case letters, digits, - and _, starting with a letter"))
    if not isinstance(body, dict) or len(body) != 1:
        came = ", ".join(map(str, body)) if isinstance(body, dict) and body else type(body).__name__
        known = ", ".join(STEPS.names())
        faults.append(Fault(place, f"expected one verb as {{verb: {{options}}}}, came {came} (verbs: {known})"))
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


def _check_refs(name: str, step: Step, seen: dict[str, Step | None], raw: dict[str, Any], faults: list[Fault]) -> None:
    for path, value, mark in refs(step):
        place = f"steps.{name}.{step.registered_name}.{path}"
        if not value.startswith("$"):
            if not mark.outside:
                faults.append(Fault(place, f"expected a reference to an earlier step ($name), came {value!r}"))
            continue
        target = mark.step(value)
        if target not in seen:
            later = target in raw and target != name
            hint = "" if later else did_you_mean(target, seen)
            why = "stands below; a step may use only what stands above it" if later else f"is not a step above{hint}"
            faults.append(Fault(place, f"{value} {why}"))
        elif (source := seen[target]) is not None and (
            why := _unfit(value, source, mark) or step.misuse(path, source) or _objection(step, path, target, seen)
        ):
            faults.append(Fault(place, why))


def _objection(step: Step, path: str, name: str, seen: dict[str, Step | None]) -> str:
    """Why the model of the step `name` makes no sense at a path, or that of a step by which it is shaped."""
    first = name
    while (source := seen.get(name)) is not None:
        if why := step.objection(path, source):
            return why if name == first else f"{why} (${first} has the matrices of ${name})"
        shape = source.shaped_by()  # of a step above that one, so this ends
        name = shape[1:] if shape.startswith("$") else ""
    return ""


def _unfit(value: str, source: Step, mark: Ref) -> str:
    """Why what the step `source` writes cannot stand at a place; empty when it can."""
    if source.kind != mark.kind:
        return f"expected a {mark.kind}, but {value} makes a {source.kind}"
    # What is measured may be in any form; whatever else reads a model needs its float weights.
    if source.final and not mark.engine:
        return (
            f"{value} is already in an engine's own form ({source.registered_name}), which cannot be trained, pruned, "
            f"factorized or converted any more; give the float model that it was made from, and let "
            f"{source.registered_name} come last"
        )
    return ""


def _where(path: Path | None, lines: dict[str, int], dotted: str) -> str:
    place = dotted
    while place and place not in lines:
        cut = max(place.rfind("."), place.rfind("["))
        place = place[:cut] if cut > 0 else ""
    return f"{path or 'recipe'}:{lines.get(place, 1)}" if dotted else str(path or "recipe")
