"""JSON Schema and examples of marshmallow schemas, for the OpenAPI document."""

import inspect
from typing import Any

from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields
from webargs.fields import DelimitedList

from app.api.fields import INVISIBLE, WHITE, AwareDateTime, Date, DateOrDateTime, String
from app.api.schemas import ResponseSchema

TYPES = {
    AwareDateTime: ("string", "date-time"),
    Date: ("string", "date"),
    DateOrDateTime: ("string", None),
}


class Converter(OpenAPIConverter):
    """Converts schemas and fields to JSON Schema."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field, type_and_format in TYPES.items():
            self.map_to_openapi_type(field, *type_and_format)

    def schema2jsonschema(self, schema: Any) -> Any:
        result = super().schema2jsonschema(schema)
        if isinstance(schema, ResponseSchema):
            result["required"] = list(result["properties"])
        result |= getattr(type(schema).Meta, "rule", {})
        if docstring := vars(type(schema)).get("__doc__"):
            result["description"] = inspect.cleandoc(docstring).replace("``", "`")
        return result

    def field2property(self, field: fields.Field[Any]) -> dict[str, Any]:
        result: dict[str, Any] = super().field2property(field)
        if getattr(field.parent, "partial", None):
            # A field that is absent from a partial body keeps its value.
            result.pop("default", None)
        if _is_nullable_column(field) and isinstance(result.get("type"), str):
            result["type"] = [result["type"], "null"]
        if isinstance(field, DateOrDateTime):
            result["anyOf"] = [{"format": "date"}, {"format": "date-time"}]
        elif isinstance(field, String) and not field.has_format:
            result["pattern"] = _pattern(field)
        return result

    def _field2parameter(
        self, field: fields.Field[Any], *, name: str, location: str
    ) -> dict[str, Any]:
        result: dict[str, Any] = super()._field2parameter(field, name=name, location=location)
        schema = result["schema"]
        if field.allow_none:  # implied by a default of None
            schema["type"] = schema["type"][0]
            del schema["default"]
        if isinstance(field, DelimitedList):
            result |= {"style": "form", "explode": False}
        return result


def _is_nullable_column(field: fields.Field[Any]) -> bool:
    if not isinstance(field.parent, ResponseSchema):
        return False
    column = getattr(field.parent.opts.model, field.attribute or field.name or "", None)
    return bool(getattr(column, "nullable", False))


def _pattern(field: String) -> str:
    """Return the pattern of a string: its own, or no NUL and, if stripped, not only blanks."""
    if field.pattern:
        return f"^{field.pattern.pattern}$"
    if field.strip and field.min_length:
        blanks = WHITE + (INVISIBLE if field.visible else "")
        return rf"^[^\u0000]*[^\u0000{blanks}][^\u0000]*$"
    return r"^[^\u0000]*$"


def example_of(schema: Schema) -> dict[str, Any]:
    """Return the example of a schema: from ``Meta.example`` and those of nested schemas."""
    values: dict[str, Any] = {}
    for base in reversed(type(schema).__mro__):
        values |= getattr(vars(base).get("Meta"), "example", {})
    example = {}
    for name, field in schema.fields.items():
        if name in values:
            example[name] = values[name]
        elif not field.required:
            continue
        elif isinstance(field, fields.Nested):
            nested = example_of(field.schema)
            example[name] = [nested] if field.many else nested
        elif isinstance(field, fields.List) and isinstance(field.inner, fields.Nested):
            example[name] = [example_of(field.inner.schema)]
        elif field.allow_none:
            example[name] = None
    return example
