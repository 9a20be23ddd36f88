"""JSON Schema, and examples, of marshmallow's schemas and of what ours promise beyond them."""

import inspect
from typing import Any

from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields

from app.http.fields import Day, DayOrInstant, Instant, SomeOf, Text
from app.http.output import OutputSchema

TYPES = {
    Instant: ("string", "date-time"),
    Day: ("string", "date"),
    DayOrInstant: ("string", None),
}

# What is taken off a text's ends: JSON Schema means something else by white space (ECMA-262).
WHITE = r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


class Converter(OpenAPIConverter):
    """Makes the document's schemas and parameters."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field, type_and_format in TYPES.items():
            self.map_to_openapi_type(field, *type_and_format)

    def schema2jsonschema(self, schema: Any) -> Any:
        made = super().schema2jsonschema(schema)
        if isinstance(schema, OutputSchema):
            made["required"] = list(made["properties"])
        made |= getattr(type(schema).Meta, "rule", {})
        if told := vars(type(schema)).get("__doc__"):
            made["description"] = inspect.cleandoc(told).replace("``", "`")
        return made

    def field2property(self, field: fields.Field[Any]) -> dict[str, Any]:
        made: dict[str, Any] = super().field2property(field)
        partial = getattr(field.parent, "partial", None)
        if partial:
            made.pop("default", None)  # what is left out of a partial body stays as it is
        if _shows_nullable_column(field) and isinstance(made.get("type"), str):
            made["type"] = [made["type"], "null"]
        if isinstance(field, SomeOf):
            word = {"type": made.pop("type"), "enum": made.pop("enum")}
            made |= {"type": "array", "items": word, "minItems": 1}
        elif isinstance(field, DayOrInstant):
            made["anyOf"] = [{"format": "date"}, {"format": "date-time"}]
        elif isinstance(field, Text) and not field.pattern_is_a_format:
            made["pattern"] = _pattern(field)
        return made

    def _field2parameter(
        self, field: fields.Field[Any], *, name: str, location: str
    ) -> dict[str, Any]:
        made: dict[str, Any] = super()._field2parameter(field, name=name, location=location)
        schema = made["schema"]
        if field.allow_none:  # which marshmallow takes for granted where the default is None
            schema["type"] = schema["type"][0]
            del schema["default"]
        if isinstance(field, SomeOf):
            made |= {"style": "form", "explode": False}
        return made


def _shows_nullable_column(field: fields.Field[Any]) -> bool:
    if not isinstance(field.parent, OutputSchema):
        return False
    column = getattr(field.parent.opts.model, field.attribute or field.name or "", None)
    return bool(getattr(column, "nullable", False))


def _pattern(field: Text) -> str:
    """Return the pattern of a text: its own, else no NUL, and more than white space if need be."""
    if field.pattern:
        return f"^{field.pattern.pattern}$"
    if field.trim and field.least:
        return rf"^[^\u0000]*[^\u0000{WHITE}][^\u0000]*$"
    return r"^[^\u0000]*$"


def example_of(schema: Schema) -> dict[str, Any]:
    """Return the example of a schema: what its Meta says, and those of the schemas within it."""
    said: dict[str, Any] = {}
    for base in reversed(type(schema).__mro__):
        said |= getattr(vars(base).get("Meta"), "example", {})
    example = {}
    for name, field in schema.fields.items():
        if name in said:
            example[name] = said[name]
        elif not field.required:
            continue
        elif isinstance(field, fields.Nested):
            example[name] = example_of(field.schema)
        elif isinstance(field, fields.List) and isinstance(field.inner, fields.Nested):
            example[name] = [example_of(field.inner.schema)]
        elif field.allow_none:
            example[name] = None
    return example
