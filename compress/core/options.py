"""Options: the declaration of a method is its schema.

A method is a frozen pydantic model whose fields are its YAML keys. `Choice(CATALOGUE)` marks a field that holds one
method of a catalogue, written `{name: {options}}` (or just `name`) in a recipe. `Ref` marks a field that names an
earlier step (`$name`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from compress.core.errors import InputError
from compress.core.faults import faults_of as faults_of

if TYPE_CHECKING:
    from compress.core.registry import Catalogue


AT = "@"


class Options(BaseModel):
    """Base of every method and step: frozen, unknown keys refused, types strict (no `"3"` for 3), numbers finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())

    registered_name: ClassVar[str] = ""

    def dump(self) -> dict[str, Any]:
        """The filled options as plain JSON values."""
        return self.model_dump(mode="json")


def aside(default: Any, description: str, **limits: Any) -> Any:
    """A field that does not affect the result (a progress interval, a thread count): left out of a step's identity."""
    return Field(default, description=description, json_schema_extra={"identity": False}, **limits)


@dataclass(frozen=True)
class Ref:
    """Marks a field that names an earlier step of this artifact `kind`; `outside` also allows a path or hub name.

    engine: whether an engine may stand behind the step, as in `$half@torch:bf16`.
    """

    kind: str
    outside: bool = False
    engine: bool = False

    def step(self, value: str) -> str:
        """The step that `$name` (or `$name@engine`) names."""
        return value[1:].partition(AT)[0] if self.engine else value[1:]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = {**handler(schema), "x-reference": self.kind}
        return found if self.outside else {**found, "pattern": r"^\$"}


CorpusRef = Annotated[str, Ref("Corpus")]
SignalsRef = Annotated[str, Ref("Signals")]
ModelRef = Annotated[str, Ref("Model")]
ModelSource = Annotated[str, Ref("Model", outside=True)]
MeasuredModel = Annotated[str, Ref("Model", outside=True, engine=True)]


class Choice:
    """Annotation for a field that holds one method of a catalogue: `losses: list[Annotated[Loss, Choice(LOSSES)]]`."""

    def __init__(self, catalogue: Catalogue[Any]) -> None:
        self.catalogue = catalogue

    def parse(self, value: object) -> Options:
        """A method from `{name: {options}}`, from a bare `name`, or from an instance."""
        kind = self.catalogue.kind
        if isinstance(value, Options):
            return value
        if isinstance(value, str):
            value = {value: {}}
        if not isinstance(value, dict) or len(value) != 1:
            came = f"{len(value)} keys" if isinstance(value, dict) else type(value).__name__
            raise PydanticCustomError("choice", f"expected one {kind} as {{name: {{options}}}}, came {came}")
        ((name, options),) = value.items()
        try:
            method: type[Options] = self.catalogue.get(str(name))
        except InputError as error:
            raise PydanticCustomError("choice", "{message}", {"message": str(error)}) from None
        try:
            return method.model_validate({} if options is None else options)
        except ValidationError as error:
            nested = [(f"{name}.{f.path}" if f.path else str(name), f.message) for f in faults_of(error, method)]
            raise PydanticCustomError("nested", "nested faults", {"faults": nested}) from None

    @staticmethod
    def dump(value: Options) -> dict[str, Any]:
        """`{name: {options}}`, the form that a recipe uses."""
        return {value.registered_name: value.dump()}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.parse, serialization=core_schema.plain_serializer_function_ser_schema(self.dump)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"x-catalogue": self.catalogue.kind}  # core.schema puts the reference here; pydantic cannot resolve it


def identity(options: Options) -> dict[str, Any]:
    """The options that decide the result, as plain JSON: fields made with `aside` are left out, at every depth."""
    kept: dict[str, Any] = {}
    dumped = options.dump()
    for name, field in type(options).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("identity") is False:
            continue
        kept[name] = _identity_value(getattr(options, name), dumped[name])
    return kept


def _identity_value(value: Any, dumped: Any) -> Any:
    if isinstance(value, Options):
        inner = identity(value)
        return {value.registered_name: inner} if value.registered_name else inner
    if isinstance(value, (list, tuple)):
        return [_identity_value(item, plain) for item, plain in zip(value, dumped, strict=True)]
    return dumped


def refs(options: Options) -> list[tuple[str, str, Ref]]:
    """Every reference in the options, at every depth, as (dotted path, value, mark)."""
    found: list[tuple[str, str, Ref]] = []
    for name, field in type(options).model_fields.items():
        mark = _mark(field.metadata) or _mark_inside(field.annotation)
        _collect_refs(getattr(options, name), mark, name, found)
    return found


def _collect_refs(value: Any, mark: Ref | None, path: str, found: list[tuple[str, str, Ref]]) -> None:
    if isinstance(value, Options):
        place = f"{path}.{value.registered_name}" if value.registered_name else path
        found.extend((f"{place}.{inner}", text, ref) for inner, text, ref in refs(value))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _collect_refs(item, mark, f"{path}[{index}]", found)
    elif mark is not None and isinstance(value, str):
        found.append((path, value, mark))


def _mark(metadata: Any) -> Ref | None:
    return next((item for item in metadata if isinstance(item, Ref)), None)


def _mark_inside(annotation: Any) -> Ref | None:
    """The mark inside `list[ModelRef]` or `ModelRef | None`."""
    if hasattr(annotation, "__metadata__"):
        mark = _mark(annotation.__metadata__)
        if mark is not None:
            return mark
    for inner in getattr(annotation, "__args__", ()):
        mark = _mark_inside(inner)
        if mark is not None:
            return mark
    return None
