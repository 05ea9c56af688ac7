"""JSON Schema of methods: one definition per method and one `oneOf` per catalogue, so that nesting never recurses."""

from __future__ import annotations

from typing import Any

from compress.core.registry import CATALOGUES, Catalogue


def catalogue_definitions() -> dict[str, Any]:
    """`$defs` for every catalogue: `loss` (any of them, as a recipe writes it) and `loss.hidden_mse` (its options)."""
    definitions: dict[str, Any] = {}
    done: set[str] = set()
    while missing := sorted(set(CATALOGUES) - done):  # reading one catalogue may import the declaration of another
        for kind in missing:
            definitions.update(_of(CATALOGUES[kind]))
        done.update(missing)
    return definitions


def _of(catalogue: Catalogue[Any]) -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    choices: list[dict[str, Any]] = []
    for name in catalogue.names():
        key = f"{catalogue.kind}.{name}"
        schema = _refer(catalogue.get(name).model_json_schema(ref_template=f"#/$defs/{key}.{{model}}"))
        for inner, definition in schema.pop("$defs", {}).items():
            definitions[f"{key}.{inner}"] = definition
        definitions[key] = schema
        choices.append({"type": "object", "properties": {name: {"$ref": f"#/$defs/{key}"}},
                        "required": [name], "additionalProperties": False})  # fmt: skip
        if not schema.get("required"):
            choices.append({"const": name})
    definitions[catalogue.kind] = {"oneOf": choices}
    return definitions


def _refer(schema: Any) -> Any:
    """The schema with every mark that `Choice` left turned into a reference to its catalogue."""
    if isinstance(schema, dict):
        kind = schema.get("x-catalogue")
        rest = {name: _refer(inner) for name, inner in schema.items() if name != "x-catalogue"}
        return {**rest, "$ref": f"#/$defs/{kind}"} if kind else rest
    return [_refer(inner) for inner in schema] if isinstance(schema, list) else schema
