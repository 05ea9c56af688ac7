"""The plan: names, verbs, inputs and keys. Pure: file digests come from the `fingerprint` that the caller gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compress.core.hashing import digest
from compress.core.options import AT, identity, refs
from compress.pipeline.recipe import Recipe
from compress.steps.base import Step

Fingerprint = Callable[[Path], str]


@dataclass(frozen=True)
class Planned:
    """One step with its identity. `inputs` are names of earlier steps; `key` decides whether it must run."""

    name: str
    verb: str
    step: Step
    inputs: tuple[str, ...]
    key: str
    seed: int


def plan(recipe: Recipe, fingerprint: Fingerprint) -> list[Planned]:
    """The steps in order, each with the key of what decides its result.

    A key is SHA-256 over verb, version, filled options, seed, input keys and the content of the files that are read,
    so that an upstream change cascades and a progress flag does not. References enter as the input's key, not as its
    name: renaming a step costs nothing, but for a benchmark, which shows the names.
    """
    planned: dict[str, Planned] = {}
    for name, step in recipe.steps.items():
        inputs = tuple(dict.fromkeys(mark.step(value) for _, value, mark in refs(step) if value.startswith("$")))
        seed = getattr(step, "seed", None)
        seed = recipe.seed if seed is None else seed
        key = digest(
            {
                "verb": step.registered_name,
                "version": step.version,
                "options": _by_key({k: v for k, v in identity(step).items() if k != "seed"}, planned),
                "seed": seed if step.seeded else None,
                "files": [[path.name, fingerprint(path)] for path in step.files()],
                **({"names": list(inputs)} if step.measures else {}),
            }
        )
        planned[name] = Planned(name, step.registered_name, step, inputs, key, seed)
    return list(planned.values())


def _by_key(value: object, planned: dict[str, Planned]) -> object:
    """The options with every `$name` replaced by the key of that step."""
    if isinstance(value, dict):
        return {key: _by_key(inner, planned) for key, inner in value.items()}
    if isinstance(value, list):
        return [_by_key(inner, planned) for inner in value]
    if isinstance(value, str) and value.startswith("$"):
        name, at, engine = value[1:].partition(AT)
        return f"${planned[name].key}{at}{engine}" if name in planned else value
    return value
