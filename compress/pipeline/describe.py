"""What a recipe can say, as text and as JSON Schema, read from the declarations themselves."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from dataclasses import asdict, dataclass
from typing import Any

import yaml

import compress
from compress.core.options import Options
from compress.core.registry import CATALOGUES, Catalogue, catalogue
from compress.core.schema import catalogue_definitions
from compress.steps.base import STEPS

WORDS = {
    "integer": "whole number", "boolean": "true | false", "null": "none", "string": "text", "object": "name: value"
}  # fmt: skip
USUAL = ("jsonl", "classify", "tinybert", "logits_kl", "onnx", "scratch")  # what an example shows
SETTING = {"type": "string", "pattern": r"\$\{[^}]*\}", "description": "a value of `settings`, such as ${data}"}


@dataclass(frozen=True)
class FieldText:
    """One option: what it takes, its default (empty when it must be given), and what it means."""

    name: str
    takes: str
    default: str
    text: str


@dataclass(frozen=True)
class MethodText:
    """One method in words, with an example for a recipe."""

    kind: str
    name: str
    text: str
    paper: str
    fields: list[FieldText]
    example: str

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def methods(kind: str | None = None) -> dict[str, dict[str, str]]:
    """Kind to method name to the first line of its documentation. Raises InputError for an unknown kind."""
    _load_catalogues(kind)
    chosen = [catalogue(kind)] if kind else [CATALOGUES[name] for name in sorted(CATALOGUES)]
    return {each.kind: {name: _text(each.get(name)).split("\n")[0] for name in each.names()} for each in chosen}


def describe(kind: str, name: str) -> MethodText:
    """Everything that a recipe's author needs of one method. Raises InputError for an unknown kind or name."""
    _load_catalogues(kind)
    chosen = catalogue(kind)
    method = chosen.get(name)
    schema = method.model_json_schema()
    required = set(schema.get("required", []))
    fields = [
        FieldText(field, _takes(spec, schema), "" if field in required else _default(spec), _meaning(spec))
        for field, spec in sorted(schema.get("properties", {}).items(), key=lambda item: item[0] not in required)
    ]
    paper = str(getattr(method, "paper", ""))
    return MethodText(kind, name, _text(method), paper, fields, _example(chosen, method, schema))


def recipe_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a whole recipe. Every value may also be a `${setting}`."""
    _load_catalogues()
    definitions = {name: _open_to_settings(schema) for name, schema in catalogue_definitions().items()}
    steps = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": "^[a-z][a-z0-9_-]*$"},
        "additionalProperties": {"$ref": "#/$defs/step"},
        "description": "name: {verb: {options}}, in order; a step may use only what stands above it, as $name",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Stillroom recipe",
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z][a-z0-9_-]*$", "description": "names the run's folder"},
            "seed": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1, "default": 13},
            "settings": {"type": "object", "description": "values that the steps use as ${name}"},
            "steps": steps,
        },
        "required": ["steps"],
        "additionalProperties": False,
        "$defs": {**definitions, "setting": SETTING},
    }


def _load_catalogues(kind: str | None = None) -> None:
    """Steps bring in the catalogues that they use, from other distributions too; the rest stand in `*.base`."""
    STEPS.names()
    if kind in CATALOGUES:
        return
    for module in pkgutil.walk_packages(compress.__path__, "compress."):
        if module.name.endswith(".base"):
            importlib.import_module(module.name)


def _text(method: type[Options]) -> str:
    own = method.__doc__ if method.__doc__ is not None else ""
    return inspect.cleandoc(own)


def _meaning(spec: dict[str, Any]) -> str:
    text = str(spec.get("description", ""))
    return f"{text} (does not change the result)" if spec.get("identity") is False else text


def _default(spec: dict[str, Any]) -> str:
    value = spec.get("default")
    if value is None:
        return "none"
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _takes(spec: dict[str, Any], schema: dict[str, Any]) -> str:
    """What a field accepts, in words."""
    if "anyOf" in spec:
        return " or ".join(dict.fromkeys(_takes(one, schema) for one in spec["anyOf"]))
    if "x-catalogue" in spec:
        kind = str(spec["x-catalogue"])
        return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    if "$ref" in spec:
        return _takes_reference(spec["$ref"].removeprefix("#/$defs/"), schema)
    if "enum" in spec:
        return " | ".join(map(str, spec["enum"]))
    if "const" in spec:
        return str(spec["const"])
    if "x-reference" in spec:
        kind = spec["x-reference"]
        return f"$step ({kind})" if "pattern" in spec else f"$step ({kind}), folder or hub name"
    if spec.get("type") == "array":
        items = spec.get("items")
        return f"list of {_takes(items, schema)}" if isinstance(items, dict) else "list"
    words = {
        "integer": "whole number",
        "boolean": "true | false",
        "null": "none",
        "string": "text",
        "object": "name: value",
    }
    found = str(spec.get("type", "value"))
    return words.get(found, found) + _limits(spec)


def _takes_reference(target: str, schema: dict[str, Any]) -> str:
    inner = schema.get("$defs", {}).get(target)
    if inner and "properties" in inner and "x-catalogue" not in inner:
        return f"{{{', '.join(inner['properties'])}}}"
    return _takes(inner, schema) if inner and "enum" in inner else target


def _limits(spec: dict[str, Any]) -> str:
    marks = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    found = [f"{sign} {spec[key]}" for key, sign in marks if key in spec]
    return f" {', '.join(found)}" if found else ""


def _example(chosen: Catalogue[Options], method: type[Options], schema: dict[str, Any]) -> str:
    """The method as a recipe writes it: what must be given, filled in by way of example."""
    required = schema.get("required", [])
    options = {name: _sample(name, schema["properties"][name]) for name in required}
    options |= {name: spec["examples"][0] for name, spec in schema.get("properties", {}).items() if "examples" in spec}
    for name, spec in schema.get("properties", {}).items():
        default = spec.get("default")
        if name not in options and isinstance(default, (int, float, str)) and default != "" and len(options) < 4:
            options[name] = default
    body: Any = {method.registered_name: options} if options else method.registered_name
    if chosen.kind == "step":
        body = {"steps": {f"my-{method.registered_name}": {method.registered_name: options}}}
    elif chosen.kind == "loss":
        body = {"losses": [body]}
    elif chosen.kind == "gate":
        body = {"gates": body}
    else:
        body = {chosen.kind: body}
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100).rstrip()


def _sample(name: str, spec: dict[str, Any]) -> Any:
    """A value that a required field would take."""
    if "anyOf" in spec:
        return _sample(name, spec["anyOf"][0])
    if "x-reference" in spec:
        return f"${'corpus' if spec['x-reference'] == 'Corpus' else name}"
    if "x-catalogue" in spec:
        kind = spec["x-catalogue"]
        names = CATALOGUES[kind].names()
        return _nested(kind, next((known for known in USUAL if known in names), names[0])) if names else {}
    if "enum" in spec:
        return spec["enum"][0]
    if spec.get("type") == "array":
        return [_sample(name, spec.get("items", {}))]
    return {"integer": 4, "number": 0.5, "boolean": True}.get(str(spec.get("type")), name)


def _nested(kind: str, name: str) -> Any:
    schema = CATALOGUES[kind].get(name).model_json_schema()
    required = {field: _sample(field, schema["properties"][field]) for field in schema.get("required", [])}
    return {name: required} if required else name


def _open_to_settings(schema: Any) -> Any:
    """The same schema where every property also takes a `${setting}` in place of its value."""
    if isinstance(schema, list):
        return [_open_to_settings(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    opened = {key: _open_to_settings(value) for key, value in schema.items() if key != "properties"}
    if "properties" in schema:
        opened["properties"] = {
            name: _or_setting(_open_to_settings(spec)) for name, spec in schema["properties"].items()
        }
    return opened


def _or_setting(spec: dict[str, Any]) -> dict[str, Any]:
    if spec.get("$ref", "").count(".") or (spec.get("type") == "string" and not {"enum", "pattern"} & set(spec)):
        return spec
    outer: dict[str, Any] = {key: spec[key] for key in ("title", "description", "default") if key in spec}
    inner = {key: value for key, value in spec.items() if key not in outer}
    return {**outer, "anyOf": [inner, {"$ref": "#/$defs/setting"}]}
